//! Reads settings from the environment, files and `.env`, and passes them to `clap`.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command, Parser};

use crate::keys::{self, keys_of, names_of};
use crate::{Check, PREFIX, Secret, SettingErrors, dotenv};

/// Reads the settings of a program. Prints what is wrong and exits if something is.
pub fn parse<T: Parser>() -> T {
    parse_with(|_: &T, _| {})
}

/// Reads the settings of a program and checks them together. Prints everything that is wrong and exits if something is.
pub fn parse_and_check<T: Parser + Check>() -> T {
    parse_with(T::check)
}

fn parse_with<T: Parser>(check: impl FnOnce(&T, &mut SettingErrors)) -> T {
    let mut errors = SettingErrors::default();
    let sources = Sources::of_this_process(&mut errors);
    match sources.read(std::env::args_os(), errors, check) {
        Ok(settings) => settings,
        Err(ReadError::Clap(error)) => error.exit(),
        Err(ReadError::Invalid(errors)) => {
            for error in errors.iter() {
                // The exit status is 2, even if nobody reads standard error.
                drop(writeln!(std::io::stderr(), "error: {error}"));
            }
            std::process::exit(2);
        }
    }
}

/// Why settings cannot be used.
pub(crate) enum ReadError {
    /// A wrong flag, or a request for help.
    Clap(clap::Error),
    /// Invalid values, all of them.
    Invalid(SettingErrors),
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// This environment variable.
    Environment(String),
    /// A file that this variable names.
    File(String, PathBuf),
    /// This variable in `.env`.
    DotEnv(String),
    /// The program's default.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(name, path) => write!(f, "{name} {}", path.display()),
            Self::DotEnv(name) => write!(f, ".env {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value as text, before its parser has seen it.
#[derive(Debug, Clone)]
pub(crate) struct GivenValue {
    pub value: String,
    pub source: Source,
}

/// The variables with our prefix, and those of settings that have another name.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    environment: BTreeMap<String, String>,
    dotenv: BTreeMap<String, String>,
}

impl Sources {
    pub fn of_this_process(errors: &mut SettingErrors) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
        Self::new(environment, dotenv::of_working_directory(errors))
    }

    pub fn new(
        environment: impl IntoIterator<Item = (String, String)>,
        dotenv: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let ours = |(name, _): &(String, String)| name.starts_with(PREFIX) || keys::is_known(name);
        Self {
            environment: environment.into_iter().filter(ours).collect(),
            dotenv: dotenv.into_iter().filter(ours).collect(),
        }
    }

    /// Reads the settings of `T`. `errors` are those found before.
    pub fn read<T: Parser>(
        &self,
        arguments: impl IntoIterator<Item = OsString>,
        mut errors: SettingErrors,
        check: impl FnOnce(&T, &mut SettingErrors),
    ) -> Result<T, ReadError> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let parsed = self.matches(T::command(), &arguments, &mut errors);
        match parsed.and_then(|matches| T::from_arg_matches(&matches)) {
            Ok(settings) => {
                check(&settings, &mut errors);
                if errors.is_empty() { Ok(settings) } else { Err(ReadError::Invalid(errors)) }
            }
            Err(error) if errors.is_empty() || !error.use_stderr() => Err(ReadError::Clap(error)),
            Err(error) => {
                errors.add(error.to_string().trim_start_matches("error: ").trim_end());
                Err(ReadError::Invalid(errors))
            }
        }
    }

    /// Parses the arguments and these sources with `clap`. A value that its parser refuses becomes
    /// an error, and the default replaces it, so that the other settings can be checked too.
    pub fn matches(
        &self,
        command: Command,
        arguments: &[OsString],
        errors: &mut SettingErrors,
    ) -> Result<ArgMatches, clap::Error> {
        let own = keys_of(&command);
        for error in self.environment.keys().chain(self.dotenv.keys()).filter_map(|name| keys::unknown(name, &own)) {
            errors.add(error);
        }
        let mut given = BTreeMap::new();
        let mut invalid = BTreeSet::new();
        for arg in chosen(&command, arguments).get_arguments() {
            let Some(names) = names_of(arg) else { continue };
            match self.given(&names) {
                Ok(None) => {}
                Ok(Some(value)) => match error_of_value(arg, &value) {
                    None => drop(given.insert(names[0].clone(), value)),
                    Some(error) => {
                        errors.add(error);
                        invalid.insert(names[0].clone());
                    }
                },
                Err(error) => {
                    errors.add(error);
                    invalid.insert(names[0].clone());
                }
            }
        }
        with_values(command, &given, &invalid).try_get_matches_from(arguments)
    }

    /// The value of a setting with these names, if it is set.
    pub fn given(&self, names: &[String]) -> Result<Option<GivenValue>, String> {
        match one_of(&self.environment, names)? {
            Some(Variable { name, value, is_file: false }) => {
                Ok(Some(GivenValue { value, source: Source::Environment(name) }))
            }
            Some(file) => file.read().map(Some),
            None => match one_of(&self.dotenv, names)? {
                Some(Variable { name, value, is_file: false }) => {
                    Ok(Some(GivenValue { value, source: Source::DotEnv(name) }))
                }
                Some(file) => file.read().map(Some),
                None => Ok(None),
            },
        }
    }
}

/// A variable that sets a setting: `NAME`, or `NAME_FILE` with a path.
struct Variable {
    name: String,
    value: String,
    is_file: bool,
}

impl Variable {
    fn read(self) -> Result<GivenValue, String> {
        let Self { name, value: path, .. } = self;
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: cannot read {path}: {error}"))?;
        let value = text.trim_end_matches(['\r', '\n']).to_owned();
        Ok(GivenValue { value, source: Source::File(name, path.into()) })
    }
}

/// The only variable that sets a setting with these names.
fn one_of(variables: &BTreeMap<String, String>, names: &[String]) -> Result<Option<Variable>, String> {
    let direct = names.iter().map(|name| (name.clone(), false));
    let files = names.iter().map(|name| (format!("{name}_FILE"), true));
    let mut set = direct.chain(files).filter_map(|(name, is_file)| {
        let value = variables.get(&name)?.clone();
        Some(Variable { name, value, is_file })
    });
    match (set.next(), set.next()) {
        (Some(first), Some(second)) => Err(format!("{} and {} are both set; set only one", first.name, second.name)),
        (first, _) => Ok(first),
    }
}

/// The subcommand that the arguments name, or the command itself.
pub(crate) fn chosen<'c>(command: &'c Command, arguments: &[OsString]) -> &'c Command {
    let words = arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    words.fold(command, |command, word| command.find_subcommand(word).unwrap_or(command))
}

/// Whether values of this argument must not be shown.
pub(crate) fn is_secret(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<Secret>()
}

/// The error of the argument's parser for a value; `None` if it is valid.
fn error_of_value(arg: &Arg, given: &GivenValue) -> Option<String> {
    let long = arg.get_long()?;
    let alone = arg.clone().env(Resettable::Reset).required(false);
    let command = Command::new("setting").no_binary_name(true).disable_help_flag(true).arg(alone);
    let error = command.try_get_matches_from([format!("--{long}={}", given.value)]).err()?;
    let reason = match (Error::source(&error), error.get(ContextKind::ValidValue)) {
        _ if given.value.is_empty() => "it is empty; set it to a value, or remove it".to_owned(),
        (Some(source), _) => source.to_string(),
        (None, Some(ContextValue::Strings(valid))) => format!("it must be one of {}", valid.join(", ")),
        // A parser that makes its own error, to keep a secret out of it.
        (None, None) if error.kind() == ErrorKind::ValueValidation => {
            let text = error.to_string();
            text.trim().trim_start_matches("error: ").trim_start_matches(&format!("--{long}: ")).to_owned()
        }
        (None, _) => error.kind().to_string(),
    };
    let value = if is_secret(arg) { "***" } else { &given.value };
    Some(match &given.source {
        Source::File(name, path) => format!("{name}: {value:?} in {} is not valid: {reason}", path.display()),
        Source::DotEnv(name) => format!("{name}: {value:?} in .env is not valid: {reason}"),
        Source::Environment(name) => format!("{name}: {value:?} is not valid: {reason}"),
        Source::Flag | Source::Default => format!("--{long}: {value:?} is not valid: {reason}"),
    })
}

/// Sets the value of its variable as the default of each argument. Invalid ones keep the program's default.
fn with_values(command: Command, given: &BTreeMap<String, GivenValue>, invalid: &BTreeSet<String>) -> Command {
    let give = |arg: Arg| {
        let Some(key) = arg.get_env().and_then(|name| name.to_str()).map(str::to_owned) else { return arg };
        let arg = arg.hide_env_values(true);
        match given.get(&key) {
            _ if invalid.contains(&key) => arg.env(Resettable::Reset).required(false),
            Some(given) => arg.default_value(given.value.clone()).required(false).hide_default_value(true),
            None => arg,
        }
    };
    command.mut_args(give).mut_subcommands(|subcommand| with_values(subcommand, given, invalid))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[arg(long, env = "SIGHTLINE_ADMIN_TOKEN")]
        admin_token: Option<Secret>,
        #[arg(long, env = "SIGHTLINE_DETECTORS", default_value = "face", value_delimiter = ',')]
        detectors: Vec<String>,
        #[arg(long, env = "SIGHTLINE_MAX_FRAME_BYTES", default_value = "8MiB", value_parser = crate::bytes::<usize>(1..=1 << 40))]
        max_frame_bytes: usize,
        #[arg(long, env = "SIGHTLINE_DATA_DIR")]
        data_dir: Option<PathBuf>,
        #[arg(long = "batch-wait-ms", alias = "wait-for-batch", env = "SIGHTLINE_BATCH_WAIT_MS", default_value = "5ms",
            value_parser = crate::milliseconds(0..=1000))]
        batch_wait: Duration,
    }

    impl Check for Program {
        fn check(&self, errors: &mut SettingErrors) {
            errors.ensure(self.detectors.len() <= 2, || "SIGHTLINE_DETECTORS: at most 2".to_owned());
        }
    }

    fn sources(environment: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Sources {
        let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Sources::new(owned(environment), owned(dotenv))
    }

    fn read(environment: &[(&str, &str)], dotenv: &[(&str, &str)], flags: &[&str]) -> Result<Program, Vec<String>> {
        let arguments = std::iter::once("program").chain(flags.iter().copied()).map(OsString::from);
        sources(environment, dotenv).read(arguments, SettingErrors::default(), Program::check).map_err(|refusal| {
            match refusal {
                ReadError::Clap(error) => vec![error.to_string()],
                ReadError::Invalid(errors) => errors.iter().map(str::to_owned).collect(),
            }
        })
    }

    #[test]
    fn a_mistyped_name_stops_the_start_with_a_hint() {
        let errors = read(&[("SIGHTLINE_MAX_FRAMEBYTES", "5")], &[], &[]).unwrap_err();
        assert!(errors[0].contains("SIGHTLINE_MAX_FRAMEBYTES is not a setting"), "{errors:?}");
        assert!(errors[0].contains("did you mean SIGHTLINE_MAX_FRAME_BYTES"), "{errors:?}");
    }

    #[test]
    fn a_name_unlike_every_setting_gets_no_hint() {
        let errors = read(&[("SIGHTLINE_POSTGRES_URL", "x")], &[], &[]).unwrap_err();
        assert_eq!(errors, ["SIGHTLINE_POSTGRES_URL is not a setting; `--help` lists them all"]);
    }

    #[test]
    fn an_empty_value_that_is_not_allowed_is_called_empty() {
        let faults = read(&[("SIGHTLINE_MAX_FRAME_BYTES", ""), ("SIGHTLINE_DATA_DIR", "")], &[], &[]).unwrap_err();
        let expected = |name| format!("{name}: \"\" is not valid: it is empty; set it to a value, or remove it");
        assert_eq!(faults, [expected("SIGHTLINE_MAX_FRAME_BYTES"), expected("SIGHTLINE_DATA_DIR")]);
    }

    #[test]
    fn the_images_of_docker_compose_are_accepted_and_names_like_theirs_are_not() {
        let images = [("SIGHTLINE_IMAGE", "sightline:dev"), ("SIGHTLINE_CAMERA_IMAGE", "sightline-camera:dev")];
        assert!(read(&[], &images, &[]).is_ok());
        assert!(read(&[], &[("SIGHTLINE_IMAGES", "sightline:dev")], &[]).is_err());
    }

    #[test]
    fn settings_of_other_programs_are_accepted() {
        read(&[("SIGHTLINE_HTTP_ADDR", "x"), ("SIGHTLINE_KAFKA_PROPERTIES_FILE", "/nowhere")], &[], &[]).unwrap();
    }

    #[test]
    fn a_setting_may_have_the_name_of_another_system() {
        #[derive(Debug, Parser)]
        struct Demo {
            #[arg(long, env = "DETECTIONS_PER_SECOND", default_value_t = 3)]
            rate: u32,
        }
        let name = "DETECTIONS_PER_SECOND";
        let read =
            |sources: &Sources| sources.read([OsString::from("demo")], SettingErrors::default(), |_: &Demo, _| {});
        let rate = |sources: &Sources| read(sources).ok().map(|demo| demo.rate);
        assert_eq!(rate(&sources(&[(name, "7")], &[("ANOTHER", "x")])), Some(7));
        assert_eq!(rate(&sources(&[], &[(name, "8")])), Some(8));
        assert_eq!(rate(&sources(&[], &[])), Some(3));
        let Err(ReadError::Invalid(errors)) = read(&sources(&[(name, "fast")], &[])) else { panic!("it is valid") };
        assert!(errors.iter().all(|error| error.contains(name)), "{errors:?}");
    }

    #[test]
    fn an_alias_named_after_the_variable_is_no_second_setting() {
        #[derive(Debug, Parser)]
        struct Camera {
            #[arg(long = "config", alias = "cameras", env = "SIGHTLINE_CAMERAS")]
            cameras: Option<String>,
        }
        let read =
            |sources: &Sources| sources.read([OsString::from("camera")], SettingErrors::default(), |_: &Camera, _| {});
        let Ok(camera) = read(&sources(&[("SIGHTLINE_CAMERAS", "list.yaml")], &[])) else { panic!("it is refused") };
        assert_eq!(camera.cameras.as_deref(), Some("list.yaml"));
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let environment = [
            ("SIGHTLINE_NONSENSE", "1"),
            ("SIGHTLINE_MAX_FRAME_BYTES", "many"),
            ("SIGHTLINE_ADMIN_TOKEN_FILE", "/nowhere"),
            ("SIGHTLINE_DETECTORS", "a,b,c"),
        ];
        let errors = read(&environment, &[("SIGHTLINE_BATCH_WAIT_MS", "soon")], &[]).unwrap_err();
        assert_eq!(errors.len(), 5, "{errors:?}");
        for name in ["NONSENSE", "MAX_FRAME_BYTES", "ADMIN_TOKEN_FILE", "DETECTORS", "BATCH_WAIT_MS"] {
            assert_eq!(errors.iter().filter(|error| error.contains(name)).count(), 1, "{name}: {errors:?}");
        }
    }

    #[test]
    fn sources_have_an_order() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "3ms\n").unwrap();
        let path = file.path().to_str().unwrap();
        let key = "SIGHTLINE_BATCH_WAIT_MS";
        let wait = |environment: &[(&str, &str)], dotenv: &[(&str, &str)], flags: &[&str]| {
            read(environment, dotenv, flags).unwrap().batch_wait.as_millis()
        };
        assert_eq!(wait(&[], &[], &[]), 5);
        assert_eq!(wait(&[], &[(key, "4")], &[]), 4);
        assert_eq!(wait(&[("SIGHTLINE_BATCH_WAIT_MS_FILE", path)], &[(key, "4")], &[]), 3);
        assert_eq!(wait(&[(key, "2")], &[("SIGHTLINE_BATCH_WAIT_MS_FILE", path)], &[]), 2);
        assert_eq!(wait(&[(key, "2")], &[(key, "4")], &["--batch-wait-ms", "1ms"]), 1);
        let both = read(&[(key, "2"), ("SIGHTLINE_BATCH_WAIT_MS_FILE", path)], &[], &[]).unwrap_err();
        assert!(both[0].contains("both set"), "{both:?}");
    }

    #[test]
    fn an_old_name_is_valid_as_flag_and_variable() {
        let old = "SIGHTLINE_WAIT_FOR_BATCH";
        assert_eq!(read(&[(old, "7")], &[], &[]).unwrap().batch_wait, Duration::from_millis(7));
        assert_eq!(read(&[], &[], &["--wait-for-batch", "8"]).unwrap().batch_wait, Duration::from_millis(8));
        let both = read(&[(old, "7"), ("SIGHTLINE_BATCH_WAIT_MS", "6")], &[], &[]).unwrap_err();
        assert!(both[0].contains(old) && both[0].contains("both set"), "{both:?}");
    }

    #[test]
    fn the_line_end_of_a_file_is_not_part_of_the_value() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "face,vehicle\r\n").unwrap();
        let path = file.path().to_str().unwrap();
        let program = read(&[("SIGHTLINE_DETECTORS_FILE", path)], &[], &[]).unwrap();
        assert_eq!(program.detectors, ["face", "vehicle"]);
    }

    #[test]
    fn secrets_come_from_files_and_never_print() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789\n").unwrap();
        let path = file.path().to_str().unwrap();
        let program = read(&[("SIGHTLINE_ADMIN_TOKEN_FILE", path)], &[("SIGHTLINE_DETECTORS", "a,b")], &[]).unwrap();
        assert_eq!(program.admin_token.as_ref().unwrap().expose(), "0123456789");
        assert_eq!(program.detectors, ["a", "b"]);
        assert!(!format!("{program:?}").contains("0123456789"));
        let blanks = read(&[("SIGHTLINE_ADMIN_TOKEN", " 0123456789\t")], &[], &[]).unwrap();
        assert_eq!(blanks.admin_token.unwrap().expose(), "0123456789");
    }
}
