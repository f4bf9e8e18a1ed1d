//! Slowing down the launches of apps whose tasks keep ending.

use std::collections::BTreeMap;

use model::time::{Span, Time};

use super::app::Backoff;
use super::id::AppId;

/// The present delay of each app that has one.
#[derive(Debug, Default)]
pub struct Backoffs(BTreeMap<AppId, Delay>);

#[derive(Debug, Clone, Copy)]
struct Delay {
    span: Span,
    anchor: Time,
    /// The delay is forgotten when nothing has happened for so long.
    maximum: Span,
}

impl Backoffs {
    /// A task ended by itself: the delay begins, or grows.
    pub fn failed(&mut self, now: Time, app: &AppId, backoff: &Backoff) {
        let span = match self.current(now, app) {
            None => backoff.initial,
            Some(delay) => Span::from_millis(backoff.factor.times(delay.span.as_millis())),
        };
        let span = span.min(backoff.maximum);
        if span.is_zero() {
            self.0.remove(app);
        } else {
            self.0.insert(app.clone(), Delay { span, anchor: now, maximum: backoff.maximum });
        }
    }

    /// A task moved on towards running: an existing delay counts from now, unchanged.
    pub fn moved_on(&mut self, now: Time, app: &AppId) {
        if let Some(delay) = self.0.get_mut(app) {
            delay.anchor = now;
        }
    }

    pub fn reset(&mut self, app: &AppId) -> bool {
        self.0.remove(app).is_some()
    }

    /// When the app may be launched again; `None` when it may now.
    pub fn until(&self, now: Time, app: &AppId) -> Option<Time> {
        self.current(now, app).map(|delay| delay.anchor + delay.span).filter(|until| *until > now)
    }

    fn current(&self, now: Time, app: &AppId) -> Option<&Delay> {
        self.0.get(app).filter(|delay| now < delay.anchor + delay.maximum.max(delay.span))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ratio::Ratio;
    use super::*;

    const SETTINGS: Backoff = Backoff {
        initial: Span::from_secs(2),
        factor: Ratio::from_millionths(2_000_000),
        maximum: Span::from_secs(10),
    };

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    #[test]
    fn delays_grow_to_the_maximum_and_are_forgotten() {
        let app = AppId::parse("/a", &AppId::root()).unwrap();
        let mut backoffs = Backoffs::default();
        assert_eq!(backoffs.until(at(0), &app), None);
        let mut delays = Vec::new();
        for now in 0..5 {
            backoffs.failed(at(now), &app, &SETTINGS);
            delays.push(backoffs.until(at(now), &app).unwrap().since(at(now)).as_millis() / 1000);
        }
        assert_eq!(delays, [2, 4, 8, 10, 10]);
        assert_eq!(backoffs.until(at(14), &app), None);
        backoffs.failed(at(14), &app, &SETTINGS);
        assert_eq!(backoffs.until(at(14), &app), Some(at(16)), "the old delay was forgotten");
    }

    #[test]
    fn progress_moves_the_delay_without_growing_it() {
        let app = AppId::parse("/a", &AppId::root()).unwrap();
        let mut backoffs = Backoffs::default();
        backoffs.moved_on(at(0), &app);
        assert_eq!(backoffs.until(at(0), &app), None);
        backoffs.failed(at(0), &app, &SETTINGS);
        backoffs.moved_on(at(5), &app);
        assert_eq!(backoffs.until(at(5), &app), Some(at(7)));
        assert!(backoffs.reset(&app));
        assert_eq!(backoffs.until(at(5), &app), None);
    }

    #[test]
    fn no_delay_asked_for_none_given() {
        let app = AppId::parse("/a", &AppId::root()).unwrap();
        let mut backoffs = Backoffs::default();
        backoffs.failed(at(0), &app, &Backoff { initial: Span::ZERO, ..SETTINGS });
        assert_eq!(backoffs.until(at(0), &app), None);
    }
}
