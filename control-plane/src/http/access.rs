//! How a route comes into the API: with the action it is about, or the reason why it has none.
//!
//! Every file under `routes/` gives [`Routes`], and nothing else can be served, so a route
//! without an action does not compile:
//!
//! ```text
//! Routes::new()
//!     .signed(Action::AppointmentGet, routes!(appointment_get))
//!     .open("signing in comes before anyone is known", routes!(auth_login))
//! ```
//!
//! The action is the `operationId`. [`super::caller::Signed`] refuses who may never do that;
//! the transaction of [`super::state::Api::begin`] is bound to the action and cannot be committed
//! unless the store decided on it with the facts of the very thing ([`medmesh_store::Tx::authorise`]).

use axum::Extension;
use medmesh_clinic::authz::Action;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem, Paths};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::state::Api;

/// In the description: which action an operation is about.
pub(super) const ACTION: &str = "x-medmesh-action";
/// In the description: why an operation asks nobody who they are.
pub(super) const OPEN: &str = "x-medmesh-open";

/// The action a request came in for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared(pub(super) Action);

/// Routes with their actions and their description.
pub(super) struct Routes(OpenApiRouter<Api>);

impl Routes {
    pub(super) fn new() -> Self {
        Self(OpenApiRouter::new())
    }

    /// A route for people who are signed in.
    pub(super) fn signed(self, action: Action, route: UtoipaMethodRouter<Api>) -> Self {
        let (schemas, mut paths, methods) = route;
        note(&mut paths, ACTION, action.as_str());
        let methods = methods.route_layer(Extension(Declared(action)));
        Self(self.0.routes((schemas, paths, methods)))
    }

    /// A route for everybody, and why.
    pub(super) fn open(self, because: &'static str, route: UtoipaMethodRouter<Api>) -> Self {
        let (schemas, mut paths, methods) = route;
        note(&mut paths, OPEN, because);
        Self(self.0.routes((schemas, paths, methods)))
    }

    pub(super) fn merge(self, other: Self) -> Self {
        Self(self.0.merge(other.0))
    }

    pub(super) fn into_inner(self) -> OpenApiRouter<Api> {
        self.0
    }
}

fn note(paths: &mut Paths, key: &str, value: &str) {
    for operation in paths.paths.values_mut().flat_map(operations_mut) {
        let added = ExtensionsBuilder::new().add(key, value).build();
        operation.extensions.get_or_insert_default().merge(added);
    }
}

/// The operations of a path, whatever their method.
pub(super) fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use medmesh_clinic::authz::scopes_for;

    use super::*;
    use crate::http::openapi;

    /// Actions that are decided on inside of others' routes, those of the system, and the audit
    /// log's.
    const NO_ROUTE_OF_ITS_OWN: &[Action] = &[
        Action::AppointmentLabel,
        Action::ParticipantPresence,
        Action::PersonRegister,
    ];

    #[test]
    fn every_operation_is_its_action_or_says_why_it_has_none() {
        let mut described = openapi::clinic();
        let mut found = BTreeSet::new();
        for operation in described.paths.paths.values_mut().flat_map(operations_mut) {
            let id = operation.operation_id.clone().unwrap();
            let extensions = operation.extensions.clone().unwrap_or_default();
            match (extensions.get(ACTION), extensions.get(OPEN)) {
                (Some(action), None) => {
                    assert_eq!(action, id.as_str(), "an operation is called as its action");
                    let action = id.parse::<Action>().unwrap();
                    let by_machines = !scopes_for(action).is_empty();
                    assert_eq!(operation.security.is_some(), by_machines, "{id} asks who it is");
                    found.insert(action);
                }
                (None, Some(because)) => {
                    assert!(
                        operation.security.is_some(),
                        "{id} says that it is open: {because}"
                    );
                }
                both => panic!("{id}: {both:?}"),
            }
        }
        let all: BTreeSet<Action> = Action::ALL.iter().copied().collect();
        found.extend(NO_ROUTE_OF_ITS_OWN);
        let missing: Vec<_> = all.difference(&found).collect();
        assert_eq!(missing, Vec::<&Action>::new(), "actions nobody can ask for");
    }
}
