//! Calls on their way to the master: in order where order matters, side by side where it does not.

use std::collections::VecDeque;

use model::id::TaskId;
use sdk::call::launched;
use sdk::lanes::Order;
use wire::scheduler::Call;
use wire::v1;

use super::subscription::{Subscription, Taken};
use crate::context::Context;
use crate::net::{ConnId, Host};

/// The calls of one subscription.
pub(crate) struct Lanes {
    pub(crate) subscription: Subscription,
    order: Order,
    ordered: VecDeque<Call>,
    under_way: Option<ConnId>,
}

impl Lanes {
    pub(crate) fn start(
        host: Host,
        masters: &[(String, Host)],
        info: v1::FrameworkInfo,
        cx: &mut Context,
    ) -> Self {
        let mut subscription = Subscription::new(host, masters, info, cx);
        subscription.begin(cx);
        Self { subscription, order: Order::default(), ordered: VecDeque::new(), under_way: None }
    }

    /// Sends a call when its turn comes; the tasks of launches that certainly or perhaps did not get through.
    pub(crate) fn send(&mut self, call: Call, cx: &mut Context) -> Vec<TaskId> {
        if !self.order.waits(&call) {
            // Without a stream these are lost, and will be repeated.
            self.subscription.call(call, cx);
            return Vec::new();
        }
        self.ordered.push_back(call);
        self.next(cx)
    }

    fn next(&mut self, cx: &mut Context) -> Vec<TaskId> {
        let mut uncertain = Vec::new();
        while self.under_way.is_none() {
            let Some(call) = self.ordered.pop_front() else { break };
            self.under_way = self.subscription.call(call.clone(), cx);
            if self.under_way.is_none() {
                self.order.answered(&call);
                uncertain.extend(launched(&call));
            }
        }
        uncertain
    }

    /// What became of a call.
    pub(crate) fn answered(
        &mut self,
        conn: ConnId,
        call: &Call,
        taken: Taken,
        cx: &mut Context,
    ) -> Vec<TaskId> {
        let mut uncertain = if taken == Taken::Yes { Vec::new() } else { launched(call) };
        if self.under_way == Some(conn) {
            self.under_way = None;
            self.order.answered(call);
            uncertain.extend(self.next(cx));
        }
        uncertain
    }
}
