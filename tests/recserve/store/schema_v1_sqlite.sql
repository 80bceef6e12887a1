CREATE TABLE bundles (
    bundle_id VARCHAR(200) NOT NULL,
    created BIGINT NOT NULL,
    summary TEXT NOT NULL,
    CONSTRAINT pk_bundles PRIMARY KEY (bundle_id)
);

CREATE TABLE events (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    event_key BLOB NOT NULL,
    event_id TEXT NOT NULL,
    user_hash BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    event TEXT NOT NULL,
    value DOUBLE,
    timestamp BIGINT NOT NULL,
    CONSTRAINT uq_events_event_key UNIQUE (event_key)
);

CREATE INDEX ix_events_user_hash_timestamp_seq ON events (user_hash, timestamp, seq);

CREATE TABLE exposures (
    recommendation_id VARCHAR(200) NOT NULL,
    user_hash BIGINT,
    user_id TEXT,
    bundle TEXT NOT NULL,
    scenario TEXT NOT NULL,
    timestamp BIGINT NOT NULL,
    items TEXT NOT NULL,
    CONSTRAINT pk_exposures PRIMARY KEY (recommendation_id)
);

CREATE INDEX ix_exposures_user_hash ON exposures (user_hash);

CREATE TABLE items (
    item_key BLOB NOT NULL,
    item_id TEXT NOT NULL,
    attributes TEXT NOT NULL,
    updated BIGINT NOT NULL,
    CONSTRAINT pk_items PRIMARY KEY (item_key)
);

CREATE TABLE meta (
    name VARCHAR(100) NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT pk_meta PRIMARY KEY (name)
);

CREATE TABLE activations (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    bundle_id VARCHAR(200) NOT NULL,
    activated BIGINT NOT NULL,
    CONSTRAINT fk_activations_bundle_id_bundles FOREIGN KEY(bundle_id) REFERENCES bundles (bundle_id)
);

INSERT INTO meta (name, value) VALUES ('schema_version', '1');
