"""Numbers of enum values on the wire.

A discovery document lists an enum's names, mostly in the order of their numbers, but not the numbers. Where those have
gaps or another order, they stand here, as far as the fake takes or gives such values. `test_protocol.py` holds all of
Dataproc's against Google's Python package; BigQuery has none, and its numbers are those of Google's Rust crate.
"""

NUMBERS = {
    ("bigquery", "projection"): {"minimal": 0, "full": 1},
    ("bigquery", "StandardSqlDataType.typeKind"): {
        "TYPE_KIND_UNSPECIFIED": 0, "INT64": 2, "BOOL": 5, "FLOAT64": 7, "STRING": 8, "BYTES": 9, "TIMESTAMP": 19,
        "DATE": 10, "TIME": 20, "DATETIME": 21, "INTERVAL": 26, "GEOGRAPHY": 22, "NUMERIC": 23, "BIGNUMERIC": 24,
        "JSON": 25, "ARRAY": 16, "STRUCT": 17, "RANGE": 29,
    },
    ("dataproc", "AutotuningConfig.scenarios"): {
        "SCENARIO_UNSPECIFIED": 0, "SCALING": 2, "BROADCAST_HASH_JOIN": 3, "MEMORY": 4, "NONE": 5, "AUTO": 6,
    },
    ("dataproc", "ClusterStatus.state"): {
        "UNKNOWN": 0, "CREATING": 1, "RUNNING": 2, "ERROR": 3, "ERROR_DUE_TO_UPDATE": 9, "DELETING": 4,
        "UPDATING": 5, "STOPPING": 6, "STOPPED": 7, "STARTING": 8, "REPAIRING": 10,
    },
    ("dataproc", "JobStatus.state"): {
        "STATE_UNSPECIFIED": 0, "PENDING": 1, "SETUP_DONE": 8, "RUNNING": 2, "CANCEL_PENDING": 3,
        "CANCEL_STARTED": 7, "CANCELLED": 4, "DONE": 5, "ERROR": 6, "ATTEMPT_FAILURE": 9,
    },
    ("dataproc", "SoftwareConfig.optionalComponents"): {
        "COMPONENT_UNSPECIFIED": 0, "ANACONDA": 5, "DELTA": 20, "DOCKER": 13, "DRUID": 9, "FLINK": 14, "HBASE": 11,
        "HIVE_WEBHCAT": 3, "HUDI": 18, "ICEBERG": 19, "JUPYTER": 1, "PIG": 21, "PRESTO": 6, "TRINO": 17,
        "RANGER": 12, "SOLR": 10, "ZEPPELIN": 4, "ZOOKEEPER": 8, "JUPYTER_KERNEL_GATEWAY": 22,
    },
}


def numbers(api, place, names):
    """The number of each of `names`, the values of the enum at `place` (`Schema.property`, or a parameter)."""
    known = NUMBERS.get((api, place))
    if known is None:
        return {name: number for number, name in enumerate(names)}
    return {name: known[name] for name in names if name in known}
