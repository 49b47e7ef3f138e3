//! The problems of values that do not fit, and their positions in a value.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Display;
use std::rc::Rc;

use super::finding::Severity;

/// A part of a value that does not fit. Its fields are shared, since it is seen from many places.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) severity: Severity,
    /// The path from the compared value, and its number of steps.
    path: Option<Rc<Step>>,
    steps: u32,
    pub(super) what: Rc<str>,
}

/// A step into a value, and the next steps.
#[derive(Debug)]
struct Step {
    name: Rc<str>,
    next: Option<Rc<Step>>,
}

/// The problems of a pair.
pub(super) type Problems = Rc<[Problem]>;

/// The maximum length of a shown path, in bytes.
const LONGEST: usize = 300;

impl Problem {
    pub(super) fn breaking(what: impl Into<Rc<str>>) -> Self {
        Self::new(Severity::Breaking, what)
    }

    pub(super) fn unsure(what: impl Into<Rc<str>>) -> Self {
        Self::new(Severity::MayBreak, what)
    }

    pub(super) fn new(severity: Severity, what: impl Into<Rc<str>>) -> Self {
        Self {
            severity,
            path: None,
            steps: 0,
            what: what.into(),
        }
    }

    pub(super) fn is_breaking(&self) -> bool {
        self.severity == Severity::Breaking
    }

    /// Returns the path from the compared value: `.orders[].item`.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        let mut next = self.path.as_ref();
        while let Some(step) = next {
            if path.len() > LONGEST {
                return path + "…";
            }
            path.push_str(&step.name);
            next = step.next.as_ref();
        }
        path
    }
}

/// The text that replaces problems that are left out.
const MORE: &str = "there are more problems";

/// The maximum number of reported problems of a pair. A type that many others contain may have any number of them.
const MOST: usize = 100;

/// Collects the problems of a pair. A problem with several paths is reported with the shortest one. If there are too
/// many problems, the most severe are reported, and of these the nearest.
#[derive(Debug, Default)]
pub(super) struct Found {
    problems: Vec<Problem>,
    /// The smallest number of steps to each problem, by the address of its text.
    nearest: HashMap<*const str, u32>,
    /// The highest severity of the problems that are left out.
    more: Option<Severity>,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Returns `true` if the maximum number of problems was found, all of which break callers.
    pub(super) fn is_full(&self) -> bool {
        let breaking = self.problems.iter().filter(|problem| problem.is_breaking());
        self.problems.len() > MOST && breaking.count() > MOST
    }

    pub(super) fn push(&mut self, problem: Problem) {
        if *problem.what == *MORE {
            return self.leaves_out(problem.severity);
        }
        let steps = self.nearest.entry(Rc::as_ptr(&problem.what));
        let is_nearer = match &steps {
            Entry::Occupied(steps) => problem.steps < *steps.get(),
            Entry::Vacant(_) => true,
        };
        if is_nearer {
            steps.insert_entry(problem.steps);
            self.problems.push(problem);
        }
        if self.problems.len() > 4 * MOST {
            self.leave_out();
        }
    }

    /// Keeps the shortest path of each problem, and at most the maximum number of problems.
    fn leave_out(&mut self) {
        let nearest = &self.nearest;
        self.problems
            .retain(|problem| nearest[&Rc::as_ptr(&problem.what)] == problem.steps);
        if self.problems.len() <= MOST {
            return;
        }
        let rank = |problem: &Problem| (problem.severity, problem.steps);
        let mut ranks: Vec<_> = self.problems.iter().map(rank).collect();
        ranks.sort_unstable();
        let last = ranks[MOST - 1];
        let mut left = MOST - ranks.partition_point(|rank| *rank < last);
        let mut left_out = None;
        self.problems.retain(|problem| {
            let is_kept = rank(problem) < last || rank(problem) == last && left > 0;
            if is_kept && rank(problem) == last {
                left -= 1;
            }
            if !is_kept {
                left_out = left_out.into_iter().chain([problem.severity]).min();
            }
            is_kept
        });
        left_out
            .into_iter()
            .for_each(|severity| self.leaves_out(severity));
    }

    fn leaves_out(&mut self, severity: Severity) {
        self.more = self.more.into_iter().chain([severity]).min();
    }

    /// Adds problems of the same value.
    pub(super) fn add(&mut self, problems: &Problems) {
        for problem in problems.iter() {
            self.push(problem.clone());
        }
    }

    /// Adds problems of a part of the value, seen from one level up.
    pub(super) fn add_at(&mut self, step: impl Display, problems: &Problems) {
        if problems.is_empty() {
            return;
        }
        let name: Rc<str> = step.to_string().into();
        for problem in problems.iter() {
            let step = Step {
                name: Rc::clone(&name),
                next: problem.path.clone(),
            };
            self.push(Problem {
                path: Some(step.into()),
                steps: problem.steps + 1,
                ..problem.clone()
            });
        }
    }

    pub(super) fn problems(mut self) -> Problems {
        self.leave_out();
        let more = self
            .more
            .map(|severity| Problem::new(severity, "there are more problems"));
        self.problems.extend(more);
        self.problems.into()
    }
}

impl From<Problems> for Found {
    fn from(problems: Problems) -> Self {
        let mut found = Self::default();
        found.add(&problems);
        found
    }
}

impl From<Problem> for Found {
    fn from(problem: Problem) -> Self {
        let mut found = Self::default();
        found.push(problem);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen_from(step: &str, problems: &Problems) -> Problems {
        let mut found = Found::default();
        found.add_at(step, problems);
        found.problems()
    }

    #[test]
    fn path_leads_from_the_outside_to_the_problem() {
        let problems: Problems = [Problem::breaking("gone")].into();
        let outer = seen_from(".orders", &seen_from("[]", &problems));
        assert_eq!(outer[0].path(), ".orders[]");
        assert_eq!(problems[0].path(), "");
    }

    #[test]
    fn path_of_any_length_is_told_up_to_a_limit() {
        let mut problems: Problems = [Problem::breaking("gone")].into();
        for _ in 0..1000 {
            problems = seen_from(".name", &problems);
        }
        let path = problems[0].path();
        assert!(
            path.starts_with(".name.name") && path.ends_with('…'),
            "{path}"
        );
        assert!(path.len() < 2 * LONGEST);
    }

    #[test]
    fn problem_in_many_places_is_told_at_the_nearest() {
        let problems: Problems = [Problem::breaking("gone")].into();
        let mut found = Found::default();
        found.add_at(".a", &seen_from("[]", &problems));
        found.add_at(".b", &problems);
        found.add_at(".c", &problems);
        let found = found.problems();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path(), ".b");
    }

    #[test]
    fn many_problems_are_told_up_to_a_limit_and_the_worst_and_nearest_first() {
        let mut found = Found::default();
        for _ in 0..10 * MOST {
            let far: Problems = [Problem::breaking("far")].into();
            found.add_at("[]", &far);
            found.push(Problem::unsure("different"));
        }
        found.push(Problem::breaking("near"));
        let found = found.problems();
        let count = |what: &str| {
            found
                .iter()
                .filter(|problem| *problem.what == *what)
                .count()
        };
        assert_eq!((count("near"), count("far")), (1, MOST - 1));
        let last = found.last().unwrap();
        assert_eq!(
            (&*last.what, last.severity),
            ("there are more problems", Severity::Breaking)
        );
        assert_eq!(found.len(), MOST + 1);
    }
}
