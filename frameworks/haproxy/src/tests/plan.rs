//! From what is wanted and what is there to commands or a reload.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::plan::{Actual, State, Step, plan};
use crate::service::{Balance, Mode, Options, Routed, Server, Service, count_servers};
use crate::tally::{Tally, changed};

fn service(name: &str, port: u16) -> Service {
    let options = Options { mode: Mode::Http, ..Options::default() };
    let bind = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Service { app: format!("/{name}"), index: 0, name: name.into(), bind, port, options }
}

fn server(port: u16, draining: bool) -> Server {
    Server { task: format!("t{port}"), address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), port, draining }
}

fn routed(service: &Service, servers: &[(u16, bool)]) -> Routed {
    let servers = servers.iter().map(|(port, draining)| (format!("s{port}"), server(*port, *draining)));
    Routed { service: service.clone(), servers: servers.collect() }
}

fn desired(all: &[Routed]) -> Desired {
    all.iter().map(|routed| (routed.service.app.clone(), Arc::new(vec![routed.clone()]))).collect()
}

fn show(desired: &Desired, actual: &Actual) -> String {
    let plan = plan(desired, actual, None);
    let commands: String = plan.steps.iter().flat_map(Step::commands).map(|command| command + "\n").collect();
    format!("{commands}reload for: {:?}\n", plan.structural)
}

#[test]
fn servers_come_before_others_go() {
    let web = service("web", 1);
    let mut sticky = service("sticky", 2);
    sticky.options.sticky = true;
    let actual = Actual::loaded(&desired(&[
        routed(&web, &[(1, false), (2, false), (3, false)]),
        routed(&sticky, &[]),
    ]));
    let wanted = desired(&[
        routed(&web, &[(2, true), (3, false), (4, false), (5, true)]),
        routed(&sticky, &[(6, false)]),
    ]);
    expect![[r#"
        add server sticky/s6 10.0.0.1:6 pool-max-conn -1 pool-purge-delay 5s
        set server sticky/s6 state ready
        enable dynamic-cookie backend sticky
        add server web/s4 10.0.0.1:4 pool-max-conn -1 pool-purge-delay 5s
        set server web/s4 state ready
        set server web/s2 state drain
        set server web/s1 state maint
        del server web/s1
        reload for: []
    "#]]
    .assert_eq(&show(&wanted, &actual));
}

#[test]
fn services_need_a_reload_and_their_servers_do_not_wait_for_it() {
    let (old, kept) = (service("old", 1), service("kept", 2));
    let actual = Actual::loaded(&desired(&[routed(&old, &[(1, false)]), routed(&kept, &[(2, false)])]));
    let mut changed = service("kept", 2);
    changed.options.balance = Balance::LeastConn;
    let wanted = desired(&[routed(&service("new", 3), &[(3, false)]), routed(&changed, &[(4, false)])]);
    expect![[r#"
        add server kept/s4 10.0.0.1:4 pool-max-conn -1 pool-purge-delay 5s
        set server kept/s4 state ready
        set server kept/s2 state maint
        del server kept/s2
        set server old/s1 state maint
        del server old/s1
        reload for: ["kept", "new", "old"]
    "#]]
    .assert_eq(&show(&wanted, &actual));
}

#[test]
fn one_that_was_drained_may_come_back() {
    let web = service("web", 1);
    let mut actual = Actual::loaded(&desired(&[routed(&web, &[(1, false)])]));
    let steps = plan(&desired(&[routed(&web, &[(1, true)])]), &actual, None).steps;
    steps.iter().for_each(|step| step.note(&mut actual));
    assert_eq!(actual.backends["web"]["s1"].state, State::Drain);
    expect![[r#"
        set server web/s1 state ready
        reload for: []
    "#]]
    .assert_eq(&show(&desired(&[routed(&web, &[(1, false)])]), &actual));
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let servers = proptest::collection::btree_map(1..6_u16, any::<bool>(), 0..5);
    proptest::collection::btree_map(0..3_u16, (servers, any::<bool>()), 0..3).prop_map(|apps| {
        let all = apps.into_iter().map(|(number, (servers, sticky))| {
            let mut service = service(&format!("app{number}"), number + 1);
            service.options.sticky = sticky;
            let servers: Vec<(u16, bool)> = servers.into_iter().collect();
            routed(&service, &servers)
        });
        desired(&all.collect::<Vec<_>>())
    })
}

proptest! {
    /// To look at the changed apps only is enough, and the figures kept are those counted.
    #[test]
    fn what_did_not_change_needs_no_look(from in any_desired(), to in any_desired()) {
        let mut settled = Actual::loaded(&from);
        plan(&from, &settled, None).steps.iter().for_each(|step| step.note(&mut settled));
        let touched = changed(&from, &to);
        prop_assert_eq!(plan(&to, &settled, Some(&touched)), plan(&to, &settled, None));
        let (mut kept, mut counted) = (Tally::default(), Tally::default());
        kept.update(&from);
        kept.update(&to);
        counted.update(&to);
        prop_assert_eq!(kept.draining(), counted.draining());
        prop_assert_eq!((kept.services(), kept.servers()), (counted.services(), count_servers(&to)));
    }

    /// From any state to any other: the steps and a reload where one is asked for lead there, and then there is
    /// nothing left to do.
    #[test]
    fn plans_lead_to_what_is_wanted(from in any_desired(), to in any_desired()) {
        let mut actual = Actual::loaded(&from);
        let first = plan(&to, &actual, None);
        first.steps.iter().for_each(|step| step.note(&mut actual));
        if !first.structural.is_empty() {
            actual = Actual::loaded(&to);
        }
        let rest = plan(&to, &actual, None);
        prop_assert_eq!(rest.steps, vec![]);
        prop_assert_eq!(rest.structural, Vec::<String>::new());
        let ready: BTreeMap<_, usize> = actual.backends.iter().map(|(name, servers)| {
            (name.clone(), servers.values().filter(|standing| standing.state == State::Ready).count())
        }).collect();
        let wanted: BTreeMap<_, usize> = to.values().flat_map(|services| services.iter()).map(|routed| {
            (routed.service.name.clone(), routed.servers.values().filter(|server| !server.draining).count())
        }).collect();
        prop_assert_eq!(ready, wanted);
    }
}
