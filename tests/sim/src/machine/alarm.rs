//! When a core is to be woken.

use model::time::Time;

use super::Due;
use crate::context::Context;
use crate::net::{Host, Micros};

/// The earliest [`Due::Wake`] that is on its way for a core.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Micros>);

impl Alarm {
    /// Rings when the process's clock reaches the core's deadline, unless it rings before that anyway. What is due at once
    /// comes after what is queued for this very moment.
    pub(crate) fn set(&mut self, host: Host, deadline: Option<Time>, cx: &mut Context) {
        let Some(deadline) = deadline else { return };
        let at = cx.of(host).clock.reaches(deadline).max(cx.now);
        if self.0.is_none_or(|set| set > at) {
            self.0 = Some(at);
            cx.later(host, at - cx.now, Due::Wake);
        }
    }

    /// Takes notice of a [`Due::Wake`], whoever on the machine it is for; whether it is for this core.
    pub(crate) fn rings(&mut self, cx: &Context) -> bool {
        self.0.take_if(|set| *set <= cx.now).is_some()
    }
}
