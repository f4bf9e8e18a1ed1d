//! Calls on their way to the master: in order where order matters, side by side where it does not.

use std::collections::VecDeque;

use model::id::TaskId;
use sdk::call::launched;
use sdk::lanes::Order;
use wire::scheduler::Call;
use wire::v1;

use super::Due;
use super::subscription::{Subscription, Taken};
use crate::context::Context;
use crate::net::{ConnId, Host, Micros, SECOND};

/// As the kit has it.
const AGAIN: Micros = SECOND;

/// The calls of one subscription.
pub(crate) struct Lanes {
    host: Host,
    pub(crate) subscription: Subscription,
    order: Order,
    ordered: VecDeque<Call>,
    under_way: Option<ConnId>,
    /// What is sent again next, when and on which stream.
    again: Option<(Call, Micros, Option<String>)>,
}

impl Lanes {
    pub(crate) fn start(
        host: Host,
        masters: &[(String, Host)],
        info: v1::FrameworkInfo,
        cx: &mut Context,
    ) -> Self {
        Self {
            host,
            subscription: Subscription::begin(host, masters, info, cx),
            order: Order::default(),
            ordered: VecDeque::new(),
            under_way: None,
            again: None,
        }
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
            if let Some((_, at, stream)) = &self.again {
                if cx.now < *at {
                    break;
                }
                let stands = *stream == self.subscription.stream();
                if let Some((call, ..)) = self.again.take().filter(|_| stands) {
                    self.under_way = self.subscription.call(call, cx);
                }
                continue;
            }
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
            if let (Taken::Unknown, Some(again)) = (taken, sdk::lanes::again(call)) {
                self.again = Some((again, cx.now + AGAIN, self.subscription.stream()));
                cx.later(self.host, AGAIN, Due::Again);
            }
            uncertain.extend(self.next(cx));
        }
        uncertain
    }

    /// A pause is over, of this or of something else on the machine.
    pub(crate) fn again(&mut self, cx: &mut Context) -> Vec<TaskId> {
        self.next(cx)
    }
}
