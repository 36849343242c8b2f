//! Compiles and evaluates one condition.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, Program, Value};
use contracts::{Detection, DetectorName, FrameId, Vehicle, WatchlistName};
use jiff::Timestamp;

use crate::check::{Checked, ValueType, check};
use crate::cost::cost_of;
use crate::subject::{DetectionSubject, Subject, VariableValues};
use crate::watchlists::{NO_WATCHLISTS, WATCHLIST};

/// Maximum length of a condition in bytes.
pub const MAX_SOURCE_BYTES: usize = 2 << 10;
/// Maximum cost of a condition in steps ([`Condition::cost`]).
pub const MAX_CONDITION_COST: u32 = 1_000;
/// Maximum nesting of brackets and conditionals. The time and stack of the parser grow with it.
const MAX_NESTING: usize = 24;
/// Maximum number of consecutive signs, such as `!!`, for the same reason.
const MAX_SIGNS: usize = 4;
/// Maximum number of characters of a condition that a message quotes.
const MAX_QUOTED: usize = 24;
/// Stack in bytes of the thread that parses and checks. The parser needs about 6 KiB per level, and
/// a chain of operators in 2 KiB has up to a thousand levels.
const PARSER_STACK: usize = 8 << 20;

/// Why a condition cannot be compiled or evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is empty.
    #[error("the condition is empty; write one such as label == \"face\" && confidence > 0.8")]
    Empty,
    /// The text is longer than [`MAX_SOURCE_BYTES`].
    #[error("the condition has {0} bytes; at most {MAX_SOURCE_BYTES} are allowed")]
    TooLong(usize),
    /// The condition is nested too deeply.
    #[error("the condition is nested too deeply; remove brackets or split it into several rules")]
    TooDeep,
    /// The condition costs more than [`MAX_CONDITION_COST`].
    #[error(
        "the condition costs {0} steps for each detection; at most {MAX_CONDITION_COST} are allowed: shorten it, or join fewer texts"
    )]
    TooCostly(u32),
    /// The text is not valid CEL.
    #[error("the condition is not valid CEL: unexpected {found} at line {line}, column {column}{advice}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The quoted text at that position, or "end of line".
        found: String,
        /// What to write instead, if that is known; otherwise empty.
        advice: &'static str,
    },
    /// The condition reads an unknown variable.
    #[error("there is no variable {name:?}; the variables are {known}; write a text in quotes, as in \"car\"")]
    UnknownVariable {
        /// Name of the variable.
        name: String,
        /// All known names, comma-separated.
        known: String,
    },
    /// The condition calls an unknown function.
    #[error("there is no function {name:?} in conditions; the functions are {known}")]
    UnknownFunction {
        /// Name of the function.
        name: String,
        /// All known names, comma-separated.
        known: String,
    },
    /// The types do not match, or conditions do not support this part of CEL.
    #[error("{0}")]
    Type(String),
    /// The evaluation failed for a detection: a division by zero or an overflow.
    #[error("the condition cannot be evaluated: {0}")]
    Evaluation(String),
}

/// A compiled and checked condition. Clones are cheap and share the program.
#[derive(Clone)]
pub struct Condition {
    source: Arc<str>,
    compiled: Arc<Compiled>,
}

/// A checked program, the type of each attribute that it reads, and the watchlists that it names.
struct Compiled {
    program: Program,
    attributes: BTreeMap<String, ValueType>,
    watchlists: BTreeSet<WatchlistName>,
    cost: u32,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

/// CEL with its standard library and string functions. [`check`] restricts what a condition may use.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // Fails only if function names collide, which those of this crate do not. A test calls `lowerAscii`.
    drop(env.add_extension(cel::extensions::strings));
    Arc::new(env)
});

impl Condition {
    /// Compiles and checks a condition. Blocks for milliseconds, and starts a thread.
    ///
    /// # Errors
    /// Names what is invalid in the text and what is allowed.
    pub fn compile(source: &str) -> Result<Self, Error> {
        check_cost(source)?;
        let owned = source.to_owned();
        let thread = std::thread::Builder::new().name("rule".to_owned()).stack_size(PARSER_STACK);
        let compiling = thread
            .spawn(move || compile(&owned))
            .map_err(|error| Error::Evaluation(format!("cannot start a thread to compile it: {error}")))?;
        let compiled = compiling.join().unwrap_or_else(|_| Err(syntax_error(source, 1, 1)))?;
        let condition = Self { source: source.into(), compiled: Arc::new(compiled) };
        condition.check_evaluates()?;
        Ok(condition)
    }

    /// Whether the condition is true for a subject.
    ///
    /// # Errors
    /// If the evaluation divides by zero or overflows.
    pub fn matches(&self, subject: &Subject<'_>) -> Result<bool, Error> {
        let variables = VariableValues { subject, attributes: &self.compiled.attributes };
        let mut context = Context::with_env(Arc::clone(&LANGUAGE));
        context.set_variable_resolver(&variables);
        if !self.compiled.watchlists.is_empty() {
            let lists = subject.lists_among(&self.compiled.watchlists);
            // Fails only if another function has the name, which none has. A test calls it.
            drop(context.add_function(WATCHLIST, move |name: Arc<String>| lists.contains(&*name)));
        }
        match self.compiled.program.execute(&context) {
            Ok(Value::Bool(matches)) => Ok(matches),
            Ok(_) => Err(Error::Type("the condition must be true or false".to_owned())),
            Err(error) => Err(Error::Evaluation(failure_reason(&error))),
        }
    }

    /// The text of the condition.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The watchlists that the condition names.
    pub fn watchlists(&self) -> impl Iterator<Item = &WatchlistName> {
        self.compiled.watchlists.iter()
    }

    /// Upper bound of the work of one evaluation, in steps.
    pub fn cost(&self) -> u32 {
        self.compiled.cost
    }

    /// Evaluates the condition for a sample detection, so that one that always fails is refused at compile time.
    fn check_evaluates(&self) -> Result<(), Error> {
        let Ok(detector) = "face".parse::<DetectorName>() else { return Ok(()) };
        let text = || Some("sample".to_owned());
        let vehicle = Vehicle { category: text(), make: text(), model: text(), year: Some(2020) };
        let detection = Detection {
            label: "sample".to_owned(),
            confidence: 0.5,
            bounds: Some(contracts::BoundingBox { x: 10.0, y: 10.0, width: 100.0, height: 100.0 }),
            landmarks: Vec::new(),
            attributes: vehicle.into(),
        };
        let subject = DetectionSubject {
            frame_id: FrameId::from_position("sample", 0, 0),
            detection: &detection,
            stream: None,
            detector: &detector,
            width: 640,
            height: 480,
            captured_at: Timestamp::UNIX_EPOCH,
            watchlists: &NO_WATCHLISTS,
        };
        self.matches(&Subject::Detection(subject)).map(drop)
    }
}

/// Refuses a text that would cost the parser too much time or stack.
fn check_cost(source: &str) -> Result<(), Error> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Error::TooLong(source.len()));
    }
    if source.trim().is_empty() {
        return Err(Error::Empty);
    }
    // Counts brackets in string literals too: excluding them needs a lexer, and no useful condition has many.
    let (mut depth, mut conditionals, mut signs) = (0_usize, 0, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'?' => conditionals += 1,
            _ => {}
        }
        signs = match byte {
            b'!' | b'-' => signs + 1,
            byte if byte.is_ascii_whitespace() => signs,
            _ => 0,
        };
        if depth > MAX_NESTING || conditionals > MAX_NESTING || signs > MAX_SIGNS {
            return Err(Error::TooDeep);
        }
    }
    Ok(())
}

/// The error for invalid CEL. The parser's own messages describe its grammar and do not help the author.
fn syntax_error(source: &str, line: isize, column: isize) -> Error {
    let position = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
    let (line, column) = (position(line), position(column));
    let rest = source.lines().nth(line - 1).unwrap_or_default().chars().skip(column - 1);
    let quoted: String = rest.take(MAX_QUOTED).collect();
    let found = if quoted.trim().is_empty() { "end of line".to_owned() } else { format!("{quoted:?}") };
    Error::Syntax { line, column, found, advice: advice(&quoted) }
}

/// What to write instead of the text at which the parser stopped, for what other languages and text editors write.
fn advice(text: &str) -> &'static str {
    let word = text.split(|character: char| !character.is_alphanumeric()).next().unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "and" => "; write &&",
        "or" => "; write ||",
        "not" => "; write !",
        _ if text.starts_with('=') && !text.starts_with("==") => "; write == to compare",
        _ if text.starts_with(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}']) => {
            "; write straight quotes, as in \"car\""
        }
        _ if text.starts_with('&') => "; write &&",
        _ if text.starts_with('|') => "; write ||",
        _ => "",
    }
}

/// The reason of a failed evaluation.
fn failure_reason(error: &ExecutionError) -> String {
    let reason = match error {
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero",
        ExecutionError::Overflow(..) => "a number in it grows too large",
        _ => "its values have incompatible types",
    };
    reason.to_owned()
}

fn compile(source: &str) -> Result<Compiled, Error> {
    let program = LANGUAGE.compile(source).map_err(|errors| {
        let (line, column) = errors.errors.first().map_or((1, 1), |error| error.pos);
        syntax_error(source, line, column)
    })?;
    match check(program.expression())? {
        Checked { value_type: ValueType::Bool, attributes, watchlists } => {
            let cost = cost_of(program.expression(), &attributes);
            if cost > MAX_CONDITION_COST {
                Err(Error::TooCostly(cost))
            } else {
                Ok(Compiled { program, attributes, watchlists, cost })
            }
        }
        Checked { value_type: other, .. } => Err(Error::Type(format!(
            "the condition is {other} and must be true or false; compare it with something, as in confidence > 0.8"
        ))),
    }
}
