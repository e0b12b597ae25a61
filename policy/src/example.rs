//! An example that passes every check, to start from.

/// The files of the example, by their paths in the bundle. Everyone knows the private keys of its people.
pub const EXAMPLE: [(&str, &str); 10] = [
    ("policy.cedar", include_str!("../examples/treasury/policy.cedar")),
    ("limits.toml", include_str!("../examples/treasury/limits.toml")),
    ("groups.toml", include_str!("../examples/treasury/groups.toml")),
    ("assets.toml", include_str!("../examples/treasury/assets.toml")),
    ("roster.toml", include_str!("../examples/treasury/roster.toml")),
    ("bundle.toml", include_str!("../examples/treasury/bundle.toml")),
    ("lists/vendors.txt", include_str!("../examples/treasury/lists/vendors.txt")),
    ("lists/blocked.txt", include_str!("../examples/treasury/lists/blocked.txt")),
    ("tests/payouts.case.toml", include_str!("../examples/treasury/tests/payouts.case.toml")),
    ("tests/evm.case.toml", include_str!("../examples/treasury/tests/evm.case.toml")),
];
