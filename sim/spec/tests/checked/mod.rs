//! The model as Stateright's checker wants it.
#![allow(dead_code, reason = "each of the programs that share this file uses a part of it")]

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};
use zokor_spec::explore::{Bounds, Node, Space, logs_match};
use zokor_spec::{Action, Broken};

/// A space, to be searched.
#[derive(Clone, Debug)]
pub(crate) struct Checked(pub(crate) Space);

impl Model for Checked {
    type State = Node;
    type Action = Action;

    fn init_states(&self) -> Vec<Node> {
        vec![self.0.start()]
    }

    fn actions(&self, node: &Node, actions: &mut Vec<Action>) {
        actions.extend(self.0.actions(node));
    }

    fn next_state(&self, node: &Node, action: Action) -> Option<Node> {
        self.0.next(node, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            // Election safety, leader completeness, state machine safety, linearizable reads.
            Property::always("safety", |_, node: &Node| node.state.said.violation.is_none()),
            Property::always("log matching", |_, node: &Node| logs_match(&node.state)),
            // So that nobody praises a world in which nothing happens.
            Property::sometimes("an entry of the last term is agreed on", |model, node: &Node| {
                let last = model.0.bounds().candidates.len() as u64;
                node.state.said.agreed.iter().any(|(entry, _)| entry.term == last)
            }),
        ]
    }
}

/// What came of a search.
#[derive(Debug)]
pub(crate) struct Found {
    /// How many states there are.
    pub(crate) states: usize,
    /// How long it took.
    pub(crate) took: Duration,
    /// What does not hold, and the shortest way there.
    pub(crate) violation: Option<(String, Vec<Action>)>,
    /// Whether the last term came to something.
    pub(crate) reached: bool,
}

/// Searches all of `bounds`, with a rule left out if there is one; ends at the first violation.
pub(crate) fn search(bounds: Bounds, broken: Option<Broken>) -> Found {
    let began = Instant::now();
    let model = Checked(Space::new(bounds, broken));
    let any = HasDiscoveries::AnyFailures;
    let checker = model.checker().finish_when(any).spawn_bfs().join();
    let mut violation = None;
    for name in ["safety", "log matching"] {
        if let Some(path) = checker.discovery(name) {
            let named = path.last_state().state.said.violation.unwrap_or(name);
            let actions = path.into_actions();
            violation.get_or_insert((named.to_owned(), actions));
        }
    }
    let reached = checker.discovery("an entry of the last term is agreed on").is_some();
    Found { states: checker.unique_state_count(), took: began.elapsed(), violation, reached }
}

/// All of `bounds` holds, and its last term comes to something.
pub(crate) fn holds(name: &str, bounds: Bounds) {
    let found = search(bounds, None);
    println!("{name}: {} states in {:.1?}", found.states, found.took);
    assert!(found.violation.is_none(), "{:#?}", found.violation);
    assert!(found.reached, "the last term came to nothing: the bounds are too narrow");
}
