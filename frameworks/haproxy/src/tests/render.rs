//! The configuration as HAProxy reads it.

use expect_test::expect;

use super::*;
use crate::render::{Places, Renderer, TEMPLATE};
use crate::service::{Auth, Balance, Mode, Options, PathPrefix, Routed, Server, Service};

fn places(http: bool) -> Places {
    let http = http.then(|| "0.0.0.0:80".parse().unwrap());
    Places::of(std::path::Path::new("/data"), http)
}

fn routed(name: &str, port: u16, options: Options) -> Routed {
    let bind = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let service = Service { app: format!("/{name}"), index: 0, name: name.into(), bind, port, options };
    let server = |task: &str, port, draining| Server {
        task: task.into(),
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        port,
        draining,
    };
    let servers = [("s1", server("a", 1, false)), ("s2", server("b", 2, true))];
    Routed { service, servers: servers.map(|(name, server)| (name.to_owned(), server)).into() }
}

#[test]
fn a_plain_service() {
    let renderer = Renderer::new(TEMPLATE.into(), places(false)).unwrap();
    expect![[r#"
        # Written by `stoa haproxy` and overwritten by it; for changes give it a template.
        global
            description stoa-e4e1c2186cfb7dc5
            stats socket /data/stats.sock mode 600 level admin expose-fd listeners
            stats timeout 60s
            hard-stop-after 60s
            mworker-max-reloads 8

        defaults
            mode tcp
            option dontlognull
            retries 3
            option redispatch 1
            timeout connect 3s
            timeout client 30s
            timeout server 30s
            timeout tunnel 3600s
            timeout http-keep-alive 5s
            timeout http-request 15s
            timeout queue 30s
            timeout tarpit 60s

        # Answers as long as this worker serves; also gives HAProxy something to do while there are no services.
        frontend stoa_alive
            bind unix@/data/alive.sock mode 600
            mode http
            monitor-uri /

        frontend db_10001
            bind 127.0.0.1:10001
            mode tcp
            default_backend db_10001

        backend db_10001
            mode tcp
            balance roundrobin
            server s1 10.0.0.1:1
            server s2 10.0.0.1:2 disabled


    "#]].assert_eq(&renderer.render([&routed("db_10001", 10_001, Options::default())]).unwrap());
}

#[test]
fn everything_labels_can_ask_for() {
    let renderer = Renderer::new(TEMPLATE.into(), places(true)).unwrap();
    let path = |prefix: &str, ignore_case| PathPrefix { prefix: prefix.into(), ignore_case };
    let full = Options {
        mode: Mode::Http,
        balance: Balance::Uri,
        sticky: true,
        hosts: vec!["shop.example".into(), "www.example".into()],
        paths: vec![path("/a", false), path("/admin", false), path("/api", true)],
        weight: 1,
        redirect_to_https: true,
        hsts: true,
        auth: Some(Auth { realm: "staff".into(), user: "bob".into(), hash: "$5$salt$hash".into() }),
        allowed: vec!["10.0.0.0/8".into()],
        certificate: Some("/etc/ssl/shop.pem".into()),
        bind_options: vec!["accept-proxy".into()],
        proxy_path: Some("/admin".into()),
        reverse_path: Some("/admin".into()),
        redirect: Some("/start".into()),
    };
    let plain = Options { mode: Mode::Http, hosts: vec!["shop.example".into()], ..Options::default() };
    let services = [routed("plain_10002", 10_002, plain), routed("full_10001", 10_001, full)];
    let text = renderer.render(&services).unwrap();
    let from = text.find("frontend stoa_http").unwrap();
    expect![[r#"
        frontend stoa_http
            bind 0.0.0.0:80
            mode http
            acl full_10001_s_host req.hdr(host),field(1,:),lower -m str shop.example www.example
            acl full_10001_s_path path_beg /admin /a
            http-request redirect scheme https code 301 if full_10001_s_host full_10001_s_path !{ ssl_fc }
            http-request auth realm staff if full_10001_s_host full_10001_s_path !{ http_auth(users_full_10001) }
            acl full_10001_i_host req.hdr(host),field(1,:),lower -m str shop.example www.example
            acl full_10001_i_path path_beg -i /api
            http-request redirect scheme https code 301 if full_10001_i_host full_10001_i_path !{ ssl_fc }
            http-request auth realm staff if full_10001_i_host full_10001_i_path !{ http_auth(users_full_10001) }
            acl plain_10002_s_host req.hdr(host),field(1,:),lower -m str shop.example
            use_backend full_10001 if full_10001_s_host full_10001_s_path
            use_backend full_10001 if full_10001_i_host full_10001_i_path
            use_backend plain_10002 if plain_10002_s_host

        userlist users_full_10001
            user bob password $5$salt$hash

        frontend full_10001
            bind 127.0.0.1:10001 ssl crt /etc/ssl/shop.pem accept-proxy
            mode http
            http-request auth realm staff if !{ http_auth(users_full_10001) }
            default_backend full_10001

        backend full_10001
            mode http
            balance uri
            hash-type consistent
            acl allowed src 10.0.0.0/8
            http-request deny if !allowed
            option forwardfor
            http-request set-header X-Forwarded-Port %[dst_port]
            http-request set-header X-Forwarded-Proto https if { ssl_fc }
            # Sent again to another server only where that is safe.
            retry-on conn-failure empty-response
            http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }
            http-response set-header Strict-Transport-Security max-age=15768000 if { ssl_fc }
            http-request redirect location /start code 301 if { path / }
            http-request replace-path ^/admin/?(.*) /\1
            http-response replace-header Location ^(https?://[^/]*)?(/.*) \1/admin\2
            cookie stoa_server insert indirect nocache dynamic
            dynamic-cookie-key full_10001
            server s1 10.0.0.1:1
            server s2 10.0.0.1:2 disabled


        frontend plain_10002
            bind 127.0.0.1:10002
            mode http
            default_backend plain_10002

        backend plain_10002
            mode http
            balance roundrobin
            option forwardfor
            http-request set-header X-Forwarded-Port %[dst_port]
            http-request set-header X-Forwarded-Proto https if { ssl_fc }
            # Sent again to another server only where that is safe.
            retry-on conn-failure empty-response
            http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }
            server s1 10.0.0.1:1
            server s2 10.0.0.1:2 disabled


    "#]].assert_eq(&text[from..]);
}

#[test]
fn the_structure_does_not_hang_on_the_servers() {
    let renderer = Renderer::new(TEMPLATE.into(), places(false)).unwrap();
    let one = routed("web_1", 1, Options::default());
    let mut other = one.clone();
    other.servers.clear();
    assert_eq!(renderer.structure([&one]), renderer.structure([&other]));
    other.service.port = 2;
    assert_ne!(renderer.structure([&one]), renderer.structure([&other]));
}

#[test]
fn a_wrong_template_is_told_where() {
    let error = Renderer::new("{% for x in %}".into(), places(false)).unwrap_err();
    assert!(error.to_string().contains("haproxy.cfg:1"), "{error}");
    let renderer = Renderer::new("{{ no_such_thing }}".into(), places(false)).unwrap();
    let error = renderer.render([]).unwrap_err();
    assert!(error.to_string().contains("undefined"), "{error}");
}
