//! The suite on SQLite.

use store::Relational;
use tempfile::TempDir;

use crate::suite::for_each_guarantee;
use crate::test_accounts::TestAccounts;

pub async fn stores(folder: &TempDir) -> [Relational; 2] {
    let path = folder.path().join("accounts.sqlite");
    let stores = [Relational::sqlite(&path).await.unwrap(), Relational::sqlite(&path).await.unwrap()];
    stores[0].migrate().await.unwrap();
    stores
}

macro_rules! on_sqlite {
    ($($module:ident::$guarantee:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $guarantee() {
                let folder = TempDir::new().unwrap();
                let mut accounts = TestAccounts::on(stores(&folder).await).await;
                crate::suite::$module::$guarantee(&mut accounts).await;
                accounts.stop().await;
            }
        )*
    };
}
for_each_guarantee!(on_sqlite);
