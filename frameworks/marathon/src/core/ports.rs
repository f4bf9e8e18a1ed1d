//! Service ports: the numbers apps are known by all over the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::app::AppDefinition;
use super::errors::Errors;
use super::id::AppId;

/// Who has which service port.
#[derive(Debug, Clone, Default)]
pub struct ServicePorts(BTreeMap<u16, AppId>);

impl ServicePorts {
    /// The ports of all `apps`.
    pub fn of<'a>(apps: impl Iterator<Item = &'a AppDefinition>) -> Self {
        let mut taken = BTreeMap::new();
        for app in apps {
            for definition in app.ports.iter().filter(|definition| definition.port != 0) {
                taken.entry(definition.port).or_insert_with(|| app.id.clone());
            }
        }
        Self(taken)
    }

    /// Gives every port 0 of `app` a number: first those its previous version had and the new one no longer names,
    /// so that posting zeros again changes nothing, then the lowest free ones of `range`.
    ///
    /// # Errors
    /// A port that another app has, by that app's name: two apps behind one port would get each other's requests.
    /// That no number is free.
    pub fn assign(
        &mut self,
        app: &mut AppDefinition,
        previous: Option<&AppDefinition>,
        range: &RangeInclusive<u16>,
    ) -> Result<(), Errors> {
        let mut errors = Errors::default();
        let named: BTreeSet<u16> = app.ports.iter().map(|definition| definition.port).collect();
        let mut again = previous
            .into_iter()
            .flat_map(|previous| previous.ports.iter().map(|definition| definition.port))
            .filter(|port| range.contains(port) && !named.contains(port))
            .collect::<Vec<_>>()
            .into_iter();
        for (at, definition) in app.ports.iter_mut().enumerate() {
            let path = format!("/portDefinitions({at})/port");
            if definition.port == 0 {
                let free = again.next().or_else(|| range.clone().find(|port| !self.0.contains_key(port)));
                match free {
                    Some(port) => definition.port = port,
                    None => {
                        let (first, last) = (range.start(), range.end());
                        errors.add(path, format!("no service port between {first} and {last} is free"));
                        continue;
                    }
                }
            } else if let Some(owner) = self.0.get(&definition.port).filter(|owner| **owner != app.id) {
                errors
                    .add(path, format!("service port {} is already used by app '{owner}'", definition.port));
                continue;
            }
            self.0.insert(definition.port, app.id.clone());
        }
        errors.or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str, ports: &[u16]) -> AppDefinition {
        let id = AppId::parse(id, &AppId::root()).unwrap();
        let mut app = AppDefinition::with_defaults(id, "*");
        let template = app.ports[0].clone();
        app.ports = ports
            .iter()
            .map(|port| super::super::app::PortDefinition { port: *port, ..template.clone() })
            .collect();
        app
    }

    fn numbers(app: &AppDefinition) -> Vec<u16> {
        app.ports.iter().map(|definition| definition.port).collect()
    }

    #[test]
    fn the_lowest_free_numbers() {
        let others = [app("/a", &[10000, 10002]), app("/b", &[80])];
        let mut taken = ServicePorts::of(others.iter());
        let mut new = app("/c", &[0, 0, 9000]);
        taken.assign(&mut new, None, &(10000..=10005)).unwrap();
        assert_eq!(numbers(&new), [10001, 10003, 9000]);
    }

    #[test]
    fn numbers_are_kept() {
        let old = app("/a", &[10003, 10001]);
        let mut taken = ServicePorts::of([&old].into_iter());
        let mut new = app("/a", &[0, 10001, 0]);
        taken.assign(&mut new, Some(&old), &(10000..=10005)).unwrap();
        assert_eq!(numbers(&new), [10003, 10001, 10000]);
    }

    #[test]
    fn collisions_name_the_other_app() {
        let other = app("/other", &[8080]);
        let mut taken = ServicePorts::of([&other].into_iter());
        let error = taken.assign(&mut app("/a", &[8080]), None, &(1..=1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/portDefinitions(0)/port: service port 8080 is already used by app '/other'"
        );
    }

    #[test]
    fn the_range_ends() {
        let mut taken = ServicePorts::default();
        let error = taken.assign(&mut app("/a", &[0, 0]), None, &(5..=5)).unwrap_err();
        assert_eq!(error.to_string(), "/portDefinitions(1)/port: no service port between 5 and 5 is free");
    }
}
