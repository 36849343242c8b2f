//! The report of a bench: settings, figures with their goals, and the lines of its plots.
//!
//! Reports are published, so they show only the last part of each absolute path.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::machine::Machine;

/// The report of one bench. As JSON: `{bench, machine, settings, figures: [{name, value, unit, goal, met}], series, notes}`.
#[derive(Debug, Serialize)]
pub struct Report {
    bench: &'static str,
    machine: Machine,
    settings: BTreeMap<&'static str, Value>,
    figures: Vec<Figure>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<Series>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// One number.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Option<Goal>,
    met: Option<bool>,
}

/// The goal of a number.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// At least the first, at most the second.
    Within(f64, f64),
}

/// One line of a plot.
#[derive(Debug, Serialize)]
struct Series {
    name: String,
    x: &'static str,
    y: &'static str,
    points: Vec<(f64, f64)>,
}

impl Report {
    /// An empty report about this machine.
    pub fn new(bench: &'static str) -> Self {
        let (settings, figures, series, notes) = Default::default();
        Self { bench, machine: Machine::here(), settings, figures, series, notes }
    }

    /// Adds a setting of the run.
    pub fn setting(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = match value.into() {
            Value::String(text) => Value::String(without_folders(&text)),
            other => other,
        };
        self.settings.insert(name, value);
    }

    /// Adds a number without a goal.
    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit, goal: None, met: None });
    }

    /// Adds a number with its goal.
    pub fn with_goal(&mut self, name: impl Into<String>, value: f64, unit: &'static str, goal: Goal) {
        let met = goal.met(value);
        self.figures.push(Figure { name: name.into(), value, unit, goal: Some(goal), met: Some(met) });
    }

    /// Adds a line for a plot; `x` and `y` name its axes.
    pub fn series(&mut self, name: impl Into<String>, x: &'static str, y: &'static str, points: Vec<(f64, f64)>) {
        self.series.push(Series { name: name.into(), x, y, points });
    }

    /// Adds a sentence that explains the numbers.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(without_folders(&text.into()));
    }
}

impl Goal {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(goal) => value >= goal,
            Self::AtMost(goal) => value <= goal,
            Self::Within(least, most) => (least..=most).contains(&value),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(goal) => write!(f, "≥ {}", readable(*goal)),
            Self::AtMost(goal) => write!(f, "≤ {}", readable(*goal)),
            Self::Within(least, most) => write!(f, "{} to {}", readable(*least), readable(*most)),
        }
    }
}

impl Serialize for Goal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  ({})", self.bench, self.machine)?;
        let settings: Vec<String> = self.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        if !settings.is_empty() {
            writeln!(f, "  {}", settings.join(", "))?;
        }
        let width = self.figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or(0);
        for Figure { name, value, unit, goal, met } in &self.figures {
            let verdict = match (goal, met) {
                (Some(goal), Some(true)) => format!("  {goal}: met"),
                (Some(goal), _) => format!("  {goal}: NOT met"),
                (None, _) => String::new(),
            };
            writeln!(f, "  {name:<width$}  {:>10} {unit:<22}{verdict}", readable(*value))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}

/// Replaces each absolute path by its last part.
fn without_folders(text: &str) -> String {
    let shorten = |word: &str| match word.starts_with('/') {
        true => word.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned(),
        false => word.to_owned(),
    };
    text.split(' ').map(shorten).collect::<Vec<_>>().join(" ")
}

/// Three significant digits, and all digits before the decimal point.
fn readable(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => trimmed(&format!("{value:.1}")),
        _ => trimmed(&format!("{value:.2}")),
    }
}

fn trimmed(number: &str) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_json_say_whether_a_goal_is_met() {
        let mut report = Report::new("test");
        report.setting("frames", 20);
        report.with_goal("quick", 4.96, "ms", Goal::AtMost(5.0));
        report.with_goal("many", 0.5, "of the parts", Goal::AtLeast(0.95));
        report.with_goal("alike", 0.45, "of pairs", Goal::Within(0.45, 0.55));
        report.with_goal("slower", 0.56, "of pairs", Goal::Within(0.45, 0.55));
        report.figure("beside", 12_345.6, "frames/CPU-s");
        let table = report.to_string();
        assert!(
            table.contains("4.96 ms") && table.contains("≤ 5: met") && table.contains("≥ 0.95: NOT met"),
            "{table}"
        );
        assert!(table.contains("12346 frames/CPU-s"), "{table}");
        assert!(table.contains("0.45 to 0.55: met") && table.contains("0.45 to 0.55: NOT met"), "{table}");
        let object = serde_json::to_value(&report).unwrap();
        assert_eq!(object["settings"]["frames"], 20);
        assert_eq!(object["figures"][1]["goal"], "≥ 0.95");
        assert_eq!((&object["figures"][1]["met"], &object["figures"][4]["met"]), (&Value::Bool(false), &Value::Null));
    }

    #[test]
    fn no_path_of_the_machine_is_in_a_report() {
        let mut report = Report::new("test");
        report.setting("folder", "/home/somebody/samples/");
        report.note("photographs of /home/somebody/samples were read, and 1/2 of them sent");
        let object = serde_json::to_value(&report).unwrap();
        assert_eq!(object["settings"]["folder"], "samples");
        assert_eq!(object["notes"][0], "photographs of samples were read, and 1/2 of them sent");
    }

    #[test]
    fn numbers_have_three_significant_digits_or_all_before_the_point() {
        for (value, expected) in [(0.953, "0.95"), (1.5, "1.5"), (8.0, "8"), (59.96, "60"), (139_512.4, "139512")] {
            assert_eq!(readable(value), expected);
        }
    }
}
