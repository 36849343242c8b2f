//! A compiled condition.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::{Context, Env, ExecutionError, Program, Value};
use contracts::{Detection, DetectorName, FrameId, Vehicle};
use jiff::Timestamp;

use crate::check::{Kind, kind_of};
use crate::subject::{DetectionSubject, Subject, Variables};

/// Longest condition, in bytes.
pub const MAX_SOURCE_BYTES: usize = 2 << 10;
/// Deepest nesting of brackets and conditionals that is handed to the parser, whose time and stack grow with it.
const MAX_NESTING: usize = 24;
/// Most signs in a row, such as `!!`, for the same reason.
const MAX_SIGNS: usize = 4;
/// Most characters that a message quotes of a condition.
const MAX_SHOWN: usize = 24;
/// Stack of the thread that parses and checks: the parser takes some 6 KiB a level, and an operator chain of 2 KiB has a
/// thousand levels before it is refused.
const PARSER_STACK: usize = 8 << 20;

/// Why a condition cannot be used, or could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is nothing in it.
    #[error("the condition is empty; write one such as label == \"face\" && confidence > 0.8")]
    Empty,
    /// It is longer than allowed.
    #[error("the condition has {0} bytes; at most {MAX_SOURCE_BYTES} are allowed")]
    TooLong(usize),
    /// It is nested deeper than allowed.
    #[error("the condition is nested too deeply; take out brackets or split it into several rules")]
    TooDeep,
    /// It is not CEL.
    #[error("the condition does not read as CEL: {found} cannot stand at line {line}, column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What stands there, shown as a text, or that the condition ends there.
        found: String,
    },
    /// It asks for something that is not there.
    #[error("there is no variable {name:?}; there are {known}")]
    UnknownVariable {
        /// What it asks for.
        name: String,
        /// What there is.
        known: String,
    },
    /// It calls something that is not there.
    #[error("there is no function {name:?} in conditions; there are {known}")]
    UnknownFunction {
        /// What it calls.
        name: String,
        /// What there is.
        known: String,
    },
    /// Values of kinds that do not go together, or a form that conditions do not have.
    #[error("{0}")]
    Kind(String),
    /// It could not be answered for a detection: a division by zero or an overflow.
    #[error("the condition cannot be answered: {0}")]
    Evaluation(String),
}

/// A condition that was compiled and checked. Cheap to clone, shared between threads.
#[derive(Clone)]
pub struct Condition {
    source: Arc<str>,
    compiled: Arc<Compiled>,
}

/// A checked program, and which kind it takes each attribute for.
struct Compiled {
    program: Program,
    attributes: BTreeMap<String, Kind>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}

/// The language: CEL's standard library with its text functions. What of it a condition may use is [`kind_of`]'s list.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // The extension and the standard library are of one crate and do not collide; a test calls `lowerAscii`.
    drop(env.add_extension(cel::extensions::strings));
    Arc::new(env)
});

impl Condition {
    /// Compiles and checks a condition. Takes milliseconds and a thread of its own: not for an async task's thread.
    ///
    /// # Errors
    /// Says what is wrong with the text and what would be right.
    pub fn compile(source: &str) -> Result<Self, Error> {
        bounded(source)?;
        let owned = source.to_owned();
        let thread = std::thread::Builder::new().name("rule".to_owned()).stack_size(PARSER_STACK);
        let compiling = thread
            .spawn(move || compile(&owned))
            .map_err(|error| Error::Evaluation(format!("no thread to compile it on: {error}")))?;
        let compiled = compiling.join().unwrap_or_else(|_| Err(syntax(source, 1, 1)))?;
        let condition = Self { source: source.into(), compiled: Arc::new(compiled) };
        condition.try_out()?;
        Ok(condition)
    }

    /// Whether a subject matches.
    ///
    /// # Errors
    /// When the answer divides by zero or overflows.
    pub fn matches(&self, subject: &Subject<'_>) -> Result<bool, Error> {
        let variables = Variables { subject, attributes: &self.compiled.attributes };
        let mut context = Context::with_env(Arc::clone(&LANGUAGE));
        context.set_variable_resolver(&variables);
        match self.compiled.program.execute(&context) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(_) => Err(Error::Kind("the condition must be true or false".to_owned())),
            Err(error) => Err(Error::Evaluation(failure(&error))),
        }
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Answers it once for a made-up detection: what never works is refused now and not at the first frame.
    fn try_out(&self) -> Result<(), Error> {
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
        };
        self.matches(&Subject::Detection(subject)).map(drop)
    }
}

/// Refuses, before the parser sees it, what would cost it more than a few milliseconds and kilobytes.
fn bounded(source: &str) -> Result<(), Error> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Error::TooLong(source.len()));
    }
    if source.trim().is_empty() {
        return Err(Error::Empty);
    }
    // Brackets in texts count too: telling them apart takes a lexer, and texts full of them are no use in a condition.
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

/// What is not CEL, in our words: the parser's are about its grammar.
fn syntax(source: &str, line: isize, column: isize) -> Error {
    let place = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
    let (line, column) = (place(line), place(column));
    let rest = source.lines().nth(line - 1).unwrap_or_default().chars().skip(column - 1);
    let shown: String = rest.take(MAX_SHOWN).collect();
    let found = if shown.trim().is_empty() { "the end of the line".to_owned() } else { format!("{shown:?}") };
    Error::Syntax { line, column, found }
}

/// Why an answer failed, in our words.
fn failure(error: &ExecutionError) -> String {
    let reason = match error {
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero",
        ExecutionError::Overflow(..) => "a number in it grows too large",
        _ => "its values do not go together",
    };
    reason.to_owned()
}

fn compile(source: &str) -> Result<Compiled, Error> {
    let program = LANGUAGE.compile(source).map_err(|errors| {
        let (line, column) = errors.errors.first().map_or((1, 1), |error| error.pos);
        syntax(source, line, column)
    })?;
    match kind_of(program.expression())? {
        (Kind::Bool, attributes) => Ok(Compiled { program, attributes }),
        (other, _) => Err(Error::Kind(format!(
            "the condition is {other} and must be true or false; compare it with something, as in confidence > 0.8"
        ))),
    }
}
