//! The suite on PostgreSQL, a database per test.

use store::Relational;

use crate::suite::for_each_guarantee;
use crate::test_accounts::TestAccounts;
use crate::test_database::on_fresh;

/// Runs a test with two instances on a new database, and with the address of that database.
pub async fn on_two_instances(test: impl AsyncFnOnce(&mut TestAccounts, &str)) {
    on_fresh(async |url| {
        let stores = [Relational::postgres(&url, 8).await.unwrap(), Relational::postgres(&url, 8).await.unwrap()];
        stores[0].migrate().await.unwrap();
        let mut accounts = TestAccounts::on(stores).await;
        test(&mut accounts, &url).await;
        accounts.stop().await;
    })
    .await;
}

macro_rules! on_postgresql {
    ($($module:ident::$guarantee:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs postgres"]
            async fn $guarantee() {
                on_two_instances(async |accounts, _| crate::suite::$module::$guarantee(accounts).await).await;
            }
        )*
    };
}
for_each_guarantee!(on_postgresql);
