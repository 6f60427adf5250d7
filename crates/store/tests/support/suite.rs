//! Every case on SQLite and on PostgreSQL.

macro_rules! suite {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $case() {
                let folder = tempfile::tempdir().unwrap();
                super::$case(folder.path().join("a b.db").to_str().unwrap().to_owned()).await;
            })*
        }

        /// One server for all of them: it takes longer to start than they take to run.
        #[tokio::test]
        async fn on_postgres() {
            let server = postgres::Postgres::start();
            $($case(server.database(stringify!($case))).await;)*
        }
    };
}
