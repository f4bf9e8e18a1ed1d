//! What one kind of scheduler has to itself, beside what all instances do alike.

use sdk::engine::Engine;
use sdk::scheduler::{Records, Scheduler};
use sdk::store::Record;
use wire::v1;

use super::Instance;
use crate::context::Context;
use crate::frame::{Ask, Frame};
use crate::net::{ConnId, Host};

/// A kind of scheduler, of whose instances one leads. The value is what an instance counts over all its terms.
pub(crate) trait Kind: Default + 'static {
    /// Who decides.
    type Scheduler: Scheduler;
    /// What callers ask.
    type Call;
    /// What callers of the one that leads are shown, during its term.
    type Api;

    /// The namespace of the records, and of the key whose holder leads.
    const NAMESPACE: &'static str;
    /// How the judge calls leadership.
    const NAME: &'static str;
    /// How the judge calls that no term ends by itself.
    const GOES_ON: &'static str;

    /// A term begins: the key is held since the revision `token`.
    fn begin(host: Host, token: u64, cx: &mut Context) -> Self::Api;

    /// The term is over.
    fn end(_api: Self::Api, _cx: &mut Context) {}

    /// The engine of the term, and its part of the records.
    fn engine(
        api: &Self::Api,
        records: Vec<Record>,
        cx: &mut Context,
    ) -> (Engine<Box<Self::Scheduler>>, Records);

    /// As what the instance of this address subscribes.
    fn info(address: &str) -> v1::FrameworkInfo;

    /// Whether callers are answered, once the records are read.
    fn is_open(_api: &Self::Api) -> bool {
        true
    }

    /// The call, if this is where to make it.
    fn call(ask: Ask) -> Option<Self::Call>;

    /// Does what a caller asks of the one that leads.
    fn serve(instance: &mut Instance<Self>, conn: ConnId, call: Self::Call, cx: &mut Context);

    /// Takes notice of a connection that is over; whether it was one of the API's.
    fn left(_instance: &mut Instance<Self>, _conn: ConnId, _cx: &mut Context) -> bool {
        false
    }

    /// Shows readers what there is to see now.
    fn show(_instance: &mut Instance<Self>, _cx: &mut Context) {}

    /// A caller is about to be told that what it asked for is stored.
    fn answers(_conn: ConnId, _frame: &Frame, _cx: &mut Context) {}

    /// The master has said how a task is.
    fn updated(_status: &v1::TaskStatus, _cx: &mut Context) {}

    /// The process has started.
    fn started(_host: Host, _cx: &mut Context) {}

    /// Streams that were full may have room again.
    fn pump(_instance: &mut Instance<Self>, _cx: &mut Context) {}

    /// Somebody has set the clock of the machine.
    fn clock_set(_instance: &mut Instance<Self>, _cx: &mut Context) {}

    /// What the one that leads has yet to do.
    fn unfinished(scheduler: &Self::Scheduler, api: &Self::Api) -> Vec<String>;

    /// The end of the line that tells what the instance did.
    fn report(&self) -> String {
        String::new()
    }
}
