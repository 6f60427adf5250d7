-- How much of a quota is used or leased. A period begins with a day or month.
CREATE TABLE quota_usage (
    quota TEXT NOT NULL,
    period_ms BIGINT NOT NULL,
    used BIGINT NOT NULL,
    -- What the last lease got.
    granted BIGINT NOT NULL,
    PRIMARY KEY (quota, period_ms)
);
