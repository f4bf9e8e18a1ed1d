//! Who is asked first.

use super::*;

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

fn bag(text: &str) -> Bag {
    Bag::parse(text).unwrap()
}

/// Clients 0.. in the given roles, all waiting, in a pool of 100 cpus and 1000 MB.
fn order(roles: &[&str]) -> Order {
    let mut order = Order::default();
    order.add_total(&bag("cpus:100;mem:1000"));
    for (client, text) in (0..).zip(roles) {
        order.add_client(client, &format!("f{client}").as_str().into(), &role(text));
        order.set_place(client, Place::Ready);
    }
    order.refresh();
    order
}

fn asked(order: &Order) -> Vec<Client> {
    let mut clients = Vec::new();
    order.visit(&mut |client| {
        clients.push(client);
        ControlFlow::Continue(())
    });
    for pair in clients.windows(2) {
        assert_eq!(order.cmp(pair[0], pair[1]), Ordering::Less);
    }
    clients
}

#[test]
fn the_dominant_kind_decides() {
    let mut order = order(&["a", "b"]);
    assert_eq!(asked(&order), [0, 1]);
    order.charge(0, &bag("cpus:10"), true); // 10 %
    order.charge(1, &bag("mem:90;cpus:1"), true); // 9 %
    assert_eq!(asked(&order), [1, 0]);
    order.discharge(0, &bag("cpus:2"));
    assert_eq!(asked(&order), [0, 1]);
}

#[test]
fn weights_scale_shares() {
    let mut order = order(&["a", "b"]);
    order.charge(0, &bag("cpus:30"), true);
    order.charge(1, &bag("cpus:20"), true);
    assert_eq!(asked(&order), [1, 0]);
    order.set_weight(&role("a"), 2000);
    assert_eq!(asked(&order), [0, 1]);
}

#[test]
fn ties_go_to_who_was_given_less() {
    let mut order = order(&["a", "a"]);
    order.charge(0, &bag("cpus:1"), true);
    order.discharge(0, &bag("cpus:1"));
    assert_eq!(asked(&order), [1, 0]);
}

#[test]
fn children_compete_with_their_parents_frameworks() {
    let mut order = order(&["a", "a/x", "a/y", "b"]);
    assert_eq!(asked(&order), [0, 1, 2, 3]);
    order.charge(0, &bag("cpus:1"), true);
    assert_eq!(asked(&order), [3, 1, 2, 0]);
    order.charge(3, &bag("cpus:5"), true);
    assert_eq!(asked(&order), [1, 2, 0, 3]);
}

#[test]
fn only_the_waiting_are_asked() {
    let mut order = order(&["a", "a/x", "b"]);
    order.set_place(0, Place::Away);
    order.set_place(2, Place::Away);
    assert_eq!(asked(&order), [1]);
    order.charge(2, &bag("cpus:1"), false);
    order.set_place(2, Place::Ready);
    assert_eq!(asked(&order), [1, 2]);
}

#[test]
fn a_new_total_moves_the_dominant_kind() {
    let mut order = order(&["a", "b"]);
    order.charge(0, &bag("cpus:10"), true);
    order.charge(1, &bag("mem:99"), true);
    assert_eq!(asked(&order), [1, 0]);
    order.add_total(&bag("cpus:100"));
    order.refresh();
    assert_eq!(asked(&order), [0, 1]);
}

#[test]
fn nodes_go_with_their_last_client() {
    let mut order = order(&["a/b/c", "a"]);
    order.remove_client(0);
    assert_eq!(asked(&order), [1]);
    order.remove_client(1);
    assert!(asked(&order).is_empty());
    assert!(order.nodes.iter().flatten().count() == 1, "only the root is left");
}
