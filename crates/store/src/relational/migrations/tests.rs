use uuid::Uuid;

use super::*;

/// The columns of every table with `NOT NULL` and `UNIQUE`, and the indexes. Left out is how each database searches texts.
fn outline(sql: &str) -> Vec<String> {
    let mut table = "";
    let mut found = Vec::new();
    for line in sql.lines().map(str::trim).filter(|line| !line.starts_with("--")) {
        let mut words = line.split_whitespace().map(|word| word.trim_end_matches(','));
        match (words.next(), words.next(), words.next()) {
            (Some("CREATE"), Some("TABLE"), Some(name)) => table = name,
            (Some("CREATE"), Some("INDEX"), _) if !line.contains("USING gin") => found.push(line.to_owned()),
            (
                Some(column),
                Some("UUID" | "TEXT" | "BIGINT" | "INTEGER" | "BYTEA" | "BLOB" | "BOOLEAN" | "TIMESTAMPTZ"),
                _,
            ) => {
                let required = line.contains("NOT NULL") || line.contains("PRIMARY KEY");
                found.push(format!("{table}.{column} {required} {}", line.contains("UNIQUE")));
            }
            (Some("PRIMARY" | "CHECK"), ..) => found.push(format!("{table}: {line}")),
            _ => {}
        }
    }
    found
}

#[test]
fn both_databases_have_the_same_tables() {
    for migration in MIGRATIONS {
        let (postgres, sqlite) = (outline(migration.postgres), outline(migration.sqlite));
        assert!(migration.version > 1 || postgres.len() > 80, "the outline was not parsed");
        assert_eq!(postgres, sqlite, "{}", migration.name);
    }
}

#[test]
fn init_sql_equals_the_migrations() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker/postgres/init.sql");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, init_sql()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == init_sql(), "docker/postgres/init.sql is not in step; UPDATE_GOLDEN=1 rewrites it");
}

#[test]
fn versions_have_no_gap() {
    let versions: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
    assert_eq!(versions, (1..).take(MIGRATIONS.len()).collect::<Vec<_>>());
}

/// Users as in schema version 1; the second and third have the same mailbox.
const BEFORE: [(&str, &str); 3] = [
    ("Zoë@Example.org", "zoë@example.org"),
    ("ann@bücher.example", "ann@bücher.example"),
    ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
];

async fn every_account_of_version_1_still_signs_in(store: &Relational) {
    assert_eq!(store.migrate_to(1).await.unwrap(), Migrated { from: 0, to: 1 });
    let mut ids = Vec::new();
    for (email, key) in BEFORE {
        let (id, now) = (Uuid::now_v7(), jiff::Timestamp::now());
        let mut transaction = store.begin().await.unwrap();
        let sql = "INSERT INTO users (id, tenant, email, email_folded, role, disabled, created_at, search) \
                   VALUES ($1, $1, $2, $3, 'user', $4, $5, $2)";
        transaction.execute(sql, values![id, email, key, false, now]).await.unwrap();
        transaction.commit().await.unwrap();
        ids.push(contracts::UserId::from_uuid(id));
    }

    assert_eq!(store.migrate().await.unwrap(), Migrated { from: 1, to: MIGRATIONS[MIGRATIONS.len() - 1].version });

    let found = async |login: &str| store.password_by_login(login).await.unwrap().0;
    for ((email, _), id) in BEFORE.iter().zip(&ids) {
        assert_eq!(found(email).await, Some(*id), "{email}");
        assert_eq!(found(&email.to_uppercase()).await, Some(*id), "{email} in upper case");
    }
    assert_eq!(found("zoe\u{308}@example.org").await, Some(ids[0]));
    assert_eq!(found("ann@bu\u{308}cher.example").await, Some(ids[2]), "by the mailbox's key");
    store.check_schema().await.unwrap();
}

#[tokio::test]
async fn accounts_of_version_1_still_sign_in_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
    every_account_of_version_1_still_signs_in(&store).await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn accounts_of_version_1_still_sign_in_on_postgresql() {
    super::super::test_database::on_fresh(async |url| {
        let store = Relational::postgres(&url, 2).await.unwrap();
        every_account_of_version_1_still_signs_in(&store).await;
        store.close().await;
    })
    .await;
}

/// Opens a session as in schema version 2.
async fn open_older_session(store: &Relational, user: Uuid, scopes: &str) {
    let now = jiff::Timestamp::now();
    let sql = "INSERT INTO sessions (id, user_id, scopes, created_at, last_used_at, expires_at) \
               VALUES ($1, $2, $3, $4, $4, $5)";
    let row = values![Uuid::now_v7(), user, scopes, now, now + jiff::SignedDuration::from_hours(1)];
    let mut transaction = store.begin().await.unwrap();
    transaction.execute(sql, row).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn sessions_of_version_2_keep_what_they_allow(store: &Relational) {
    store.migrate_to(2).await.unwrap();
    let (user, now) = (Uuid::now_v7(), jiff::Timestamp::now());
    let mut transaction = store.begin().await.unwrap();
    let sql = "INSERT INTO users (id, tenant, username, username_folded, role, disabled, created_at, search) \
               VALUES ($1, $1, 'ann', 'ann', 'user', $2, $3, 'ann')";
    transaction.execute(sql, values![user, false, now]).await.unwrap();
    transaction.commit().await.unwrap();
    let every = "frames:write detections:read alerts:read rules:write faces:write faces:read";
    for scopes in [every, &format!("{every} admin"), "frames:write", "detections:read alerts:read"] {
        open_older_session(store, user, scopes).await;
    }

    store.migrate().await.unwrap();

    let sessions = store.sessions(contracts::UserId::from_uuid(user), now).await.unwrap();
    assert_eq!(sessions.len(), 4);
    for session in sessions {
        assert_eq!(session.narrowed, Some(!session.scopes.starts_with(every)), "{}", session.scopes);
    }
}

#[tokio::test]
async fn sessions_of_version_2_keep_what_they_allow_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
    sessions_of_version_2_keep_what_they_allow(&store).await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn sessions_of_version_2_keep_what_they_allow_on_postgresql() {
    super::super::test_database::on_fresh(async |url| {
        let store = Relational::postgres(&url, 2).await.unwrap();
        sessions_of_version_2_keep_what_they_allow(&store).await;
        store.close().await;
    })
    .await;
}
