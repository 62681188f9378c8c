//! `oxidag_engine.h` says the same as the Rust types behind it, and any C or C++ compiler takes it without a warning.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;

use oxidag_plugin_api::abi::c::{
    Answer, DONE, ENGINE_SYMBOL, EngineTable, FAILED, HostTable, LATER, OK, Text,
};
use oxidag_plugin_api::abi::{ABI_MAJOR, ABI_MINOR, HANDSHAKE_SYMBOL, Handshake, MAGIC};

/// The members of a type: under their names here, and in the header.
macro_rules! layout {
    ($type:ty, $name:literal: $($member:ident)+ $(, $ours:ident is $theirs:literal)*) => {{
        let members = [
            $((stringify!($member), offset_of!($type, $member)),)+
            $(($theirs, offset_of!($type, $ours)),)*
        ];
        ($name, size_of::<$type>(), members.to_vec())
    }};
}

/// A program that prints the header's layout and numbers, and what it should print.
fn program() -> (String, String) {
    let mut code = "#include <stdio.h>\n#include \"oxidag_engine.h\"\nint main(void) {\n".to_owned();
    let mut wanted = String::new();
    let mut number = |expression: String, value: usize| {
        writeln!(code, "printf(\"%s %lu\\n\", \"{expression}\", (unsigned long)({expression}));").unwrap();
        writeln!(wanted, "{expression} {value}").unwrap();
    };
    let types = [
        layout!(Text, "oxidag_text": data length),
        layout!(Answer, "oxidag_answer": to say),
        layout!(HostTable, "oxidag_host":
            size log progress cancelled on_cancel checkpoint append query complete),
        layout!(EngineTable, "oxidag_engine_table": size describe create blocks validate run destroy),
        layout!(Handshake, "oxidag_handshake":
            magic abi_major abi_minor plugin_api target engine engine_version, rustc is "compiler"),
    ];
    for (name, size, members) in types {
        number(format!("sizeof({name})"), size);
        for (member, offset) in members {
            number(format!("offsetof({name}, {member})"), offset);
        }
    }
    number("OXIDAG_ABI_MAJOR".to_owned(), ABI_MAJOR as usize);
    number("OXIDAG_ABI_MINOR".to_owned(), ABI_MINOR as usize);
    for (name, value) in [("OK", OK), ("FAILED", FAILED), ("DONE", DONE), ("LATER", LATER)] {
        number(format!("OXIDAG_{name}"), value.try_into().unwrap());
    }
    for (value, name) in ["DEBUG", "INFO", "WARN", "ERROR", "STDOUT", "STDERR"].into_iter().enumerate() {
        number(format!("OXIDAG_{name}"), value);
    }
    number("sizeof(oxidag_attempt)".to_owned(), size_of::<u64>());
    code += "puts(OXIDAG_PLUGIN_API_VERSION);\n";
    writeln!(wanted, "{}", env!("CARGO_PKG_VERSION")).unwrap();
    code += "{ char magic[] = OXIDAG_MAGIC; size_t i; for (i = 0; i < sizeof magic; i++) printf(\"%d \", magic[i]); }\n";
    MAGIC.iter().for_each(|byte| write!(wanted, "{byte} ").unwrap());
    code += "return 0; }\n";
    (code, wanted)
}

/// Compiles without a warning, as this language.
fn compile(compiler: &str, standard: &str, more: &[&str], code: &Path, to: &Path) {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let output = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"])
        .arg(include)
        .args(more)
        .arg("-o")
        .arg(to)
        .arg(code)
        .output()
        .unwrap();
    assert!(output.status.success(), "{compiler} {standard}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An engine of every macro and type, for the languages to compile.
const ENGINE: &str = r#"
#include "oxidag_engine.h"
static const char json[] = "{}";
static void describe(oxidag_answer answer) {
    oxidag_text text;
    text.data = json;
    text.length = sizeof json - 1;
    answer.say(answer.to, text);
}
static void *create(oxidag_text config, oxidag_answer why) {
    static char nothing;
    (void)config;
    (void)why;
    return &nothing;
}
static int32_t run(void *engine, oxidag_text task, const oxidag_host *host, oxidag_attempt attempt) {
    (void)engine;
    if (OXIDAG_HAS(oxidag_host, host, complete)) {
        host->complete(attempt, task);
    }
    return OXIDAG_DONE;
}
static void destroy(void *engine) {
    (void)engine;
}
OXIDAG_ENGINE("all", "0.1.0", describe, create, NULL, NULL, run, destroy);
"#;

#[test]
fn the_header_has_the_layout_and_the_numbers_of_the_rust_types() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program_file) = (folder.path().join("layout.c"), folder.path().join("layout"));
    let (code, wanted) = program();
    std::fs::write(&source, code).unwrap();
    compile("cc", "-std=c11", &[], &source, &program_file);
    let printed = Command::new(&program_file).output().unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), wanted);
}

#[test]
fn the_header_compiles_as_c_and_as_cpp_and_exports_the_two_symbols() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("engine.so");
    for (compiler, standard, suffix) in [
        ("cc", "-std=c11", "c"),
        ("cc", "-std=c17", "c"),
        ("c++", "-std=c++11", "cpp"),
        ("c++", "-std=c++17", "cpp"),
    ] {
        let source = folder.path().join("engine").with_extension(suffix);
        std::fs::write(&source, ENGINE).unwrap();
        let shared = ["-shared", "-fPIC", "-fvisibility=hidden"];
        compile(compiler, standard, &shared, &source, &library);
        let names = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output().unwrap();
        let names = String::from_utf8(names.stdout).unwrap();
        for symbol in [HANDSHAKE_SYMBOL, ENGINE_SYMBOL] {
            assert!(names.lines().any(|line| line.ends_with(&format!(" {symbol}"))), "{names}");
        }
    }
}
