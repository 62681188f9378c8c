//! What is said about wrong scripts.

use super::refused;

#[test]
fn a_script_of_too_few_parts_shows_the_form() {
    let said = refused(
        "dag.yaml",
        "tasks:
- {task_id: a, script: local.b.sql.n}
- {task_id: b, script: run.sh}
- {task_id: c, script: local.b..sql.n}
",
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:2:24: error: malformed script `local.b.sql.n`: expected `location.bucket.folder.engine.script_name`, found 4 parts
     2 | - {task_id: a, script: local.b.sql.n}
       |                        ^^^^^^^^^^^^^
       = help: a short script may stand in the DAG itself: `{engine: sql, inline: "select 1"}`
    dag.yaml:3:24: error: malformed script `run.sh`: expected `location.bucket.folder.engine.script_name`, found 2 parts
     3 | - {task_id: b, script: run.sh}
       |                        ^^^^^^
       = help: a short script may stand in the DAG itself: `{engine: sql, inline: "select 1"}`
    dag.yaml:4:24: error: malformed script `local.b..sql.n`: expected `location.bucket.folder.engine.script_name`, found an empty part
     4 | - {task_id: c, script: local.b..sql.n}
       |                        ^^^^^^^^^^^^^^
       = help: a short script may stand in the DAG itself: `{engine: sql, inline: "select 1"}`
    "#);
}

#[test]
fn a_script_of_too_many_parts_names_the_other_form() {
    let said = refused(
        "dag.yaml",
        "tasks:
- {task_id: a, script: gcs.my.bucket.f.sql.n}
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:24: error: malformed script `gcs.my.bucket.f.sql.n`: expected `location.bucket.folder.engine.script_name`, found 6 parts
     2 | - {task_id: a, script: gcs.my.bucket.f.sql.n}
       |                        ^^^^^^^^^^^^^^^^^^^^^
       = help: where a part holds a dot, use the spelled-out form `{location, bucket, folder, engine, name}`
    ");
}

#[test]
fn an_unknown_location_suggests_the_nearest_or_lists_them() {
    let said = refused(
        "dag.yaml",
        "tasks:
- {task_id: a, script: lokal.b.f.sql.n}
- {task_id: b, script: ftp.b.f.sql.n}
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:24: error: unknown location `lokal`
     2 | - {task_id: a, script: lokal.b.f.sql.n}
       |                        ^^^^^
       = help: did you mean `local`?
    dag.yaml:3:24: error: unknown location `ftp`
     3 | - {task_id: b, script: ftp.b.f.sql.n}
       |                        ^^^
       = help: the locations are: `local`, `gcs`, `s3`, `database`
    ");
}

#[test]
fn parts_of_a_path_stay_inside_their_location() {
    let said = refused(
        "dag.yaml",
        r#"tasks:
- {task_id: t0, script: {location: local, engine: sql, bucket: .., name: n}}
- {task_id: t1, script: {location: local, engine: sql, bucket: a/b, name: n}}
- {task_id: t2, script: {location: local, engine: sql, bucket: b, folder: /etc, name: n}}
- {task_id: t3, script: {location: local, engine: sql, bucket: b, folder: a/../.., name: n}}
- {task_id: t4, script: {location: local, engine: sql, bucket: b, folder: a//b, name: n}}
- {task_id: t5, script: {location: local, engine: sql, bucket: b, name: ../n}}
- {task_id: t6, script: {location: local, engine: sql, bucket: b, name: "a\\b"}}
- {task_id: t7, script: {location: local, engine: sql, bucket: b, name: "a\0b"}}
- {task_id: t8, script: {location: local, engine: sql, bucket: "", name: .}}
- {task_id: t9, script: {location: gcs, engine: sql, bucket: b, folder: "a/\e[2J", name: n}}
"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:2:64: error: bucket `..` would leave its place
     2 | - {task_id: t0, script: {location: local, engine: sql, bucket: .., name: n}}
       |                                                                ^^
       = help: it is one name inside its location; what is nested goes into `folder`
    dag.yaml:3:64: error: bucket `a/b` holds a `/`
     3 | - {task_id: t1, script: {location: local, engine: sql, bucket: a/b, name: n}}
       |                                                                ^^^
       = help: it is one name inside its location; what is nested goes into `folder`
    dag.yaml:4:75: error: folder `/etc` is absolute
     4 | - {task_id: t2, script: {location: local, engine: sql, bucket: b, folder: /etc, name: n}}
       |                                                                           ^^^^
       = help: a folder is a path inside the bucket, such as `a/b`
    dag.yaml:5:75: error: folder `a/../..` would leave its place
     5 | - {task_id: t3, script: {location: local, engine: sql, bucket: b, folder: a/../.., name: n}}
       |                                                                           ^^^^^^^
       = help: a folder is a path inside the bucket, such as `a/b`
    dag.yaml:6:75: error: folder `a//b` has an empty part
     6 | - {task_id: t4, script: {location: local, engine: sql, bucket: b, folder: a//b, name: n}}
       |                                                                           ^^^^
       = help: a folder is a path inside the bucket, such as `a/b`
    dag.yaml:7:73: error: name `../n` holds a `/`
     7 | - {task_id: t5, script: {location: local, engine: sql, bucket: b, name: ../n}}
       |                                                                         ^^^^
       = help: it is one name inside its location; what is nested goes into `folder`
    dag.yaml:8:73: error: name `a\b` holds a backslash
     8 | - {task_id: t6, script: {location: local, engine: sql, bucket: b, name: "a\\b"}}
       |                                                                         ^^^^^^
       = help: it is one name inside its location; what is nested goes into `folder`
    dag.yaml:9:73: error: name `a\u{0}b` holds a NUL character
     9 | - {task_id: t7, script: {location: local, engine: sql, bucket: b, name: "a\0b"}}
       |                                                                         ^^^^^^
       = help: it is one name inside its location; what is nested goes into `folder`
    dag.yaml:10:64: error: bucket `` has an empty part
     10 | - {task_id: t8, script: {location: local, engine: sql, bucket: "", name: .}}
        |                                                                ^^
        = help: it is one name inside its location; what is nested goes into `folder`
    dag.yaml:10:74: error: name `.` would leave its place
     10 | - {task_id: t8, script: {location: local, engine: sql, bucket: "", name: .}}
        |                                                                          ^
        = help: it is one name inside its location; what is nested goes into `folder`
    dag.yaml:11:73: error: folder `a/\u{1b}[2J` holds a character that cannot be printed
     11 | - {task_id: t9, script: {location: gcs, engine: sql, bucket: b, folder: "a/\e[2J", name: n}}
        |                                                                         ^^^^^^^^^
        = help: a folder is a path inside the bucket, such as `a/b`
    "#);
}

#[test]
fn a_script_says_where_its_text_is() {
    let said = refused(
        "dag.yaml",
        "tasks:
- {task_id: a, script: {engine: sql}}
- {task_id: b, script: {engine: sql, location: s3}}
- {task_id: c, script: {inline: select 1}}
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:24: error: this script has no text
     2 | - {task_id: a, script: {engine: sql}}
       |                        ^
       = help: `inline` holds the script itself; `{location, bucket, folder, engine, name}` says where it is
    dag.yaml:3:24: error: missing in a script: `bucket`, `name`
     3 | - {task_id: b, script: {engine: sql, location: s3}}
       |                        ^
    dag.yaml:4:24: error: `engine` is missing in a script
     4 | - {task_id: c, script: {inline: select 1}}
       |                        ^
    ");
}

#[test]
fn inline_stands_alone() {
    let said = refused(
        "dag.yaml",
        "tasks:
- {task_id: a, script: {engine: sql, inline: select 1, name: n}}
",
    );
    insta::assert_snapshot!(said, @r"
    dag.yaml:2:56: error: `name` stands beside `inline`
     2 | - {task_id: a, script: {engine: sql, inline: select 1, name: n}}
       |                                                        ^^^^
       = help: a script is either in the DAG (`engine`, `inline`) or at a location
    ");
}

#[test]
fn an_engines_name_has_a_form() {
    let said = refused(
        "dag.yaml",
        r#"tasks:
- {task_id: a, script: local.b.f.my engine.n}
- {task_id: b, script: {engine: "", inline: x}}
"#,
    );
    insta::assert_snapshot!(said, @r#"
    dag.yaml:2:34: error: `my engine` cannot be the name of an engine
     2 | - {task_id: a, script: local.b.f.my engine.n}
       |                                  ^^^^^^^^^
       = help: an engine's name is letters, digits, `_` and `-`
    dag.yaml:3:33: error: `` cannot be the name of an engine
     3 | - {task_id: b, script: {engine: "", inline: x}}
       |                                 ^^
       = help: an engine's name is letters, digits, `_` and `-`
    "#);
}
