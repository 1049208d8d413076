"""Rust names: those of both schemes, and those of other languages that look like them."""

import time

import pytest

from producers.symbols.rust import demangle_rust

V8 = "_ZN2v88internal6Parser12SkipFunctionEiPKNS0_12AstRawStringENS0_12FunctionKindENS0_18FunctionSyntaxKindE"


@pytest.mark.parametrize(
    ("mangled", "name"),
    [
        ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
        ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE.llvm.123", "core::fmt::Formatter::pad"),
        ("_RNvNtCsjNCC13XBQJc_3ryu6pretty8format64", "ryu::pretty::format64"),
        (
            "_RNvNtNCNvMso_NtNtCsdadwybgsbvk_12rustc_middle2ty7contextNtBb_6TyCtxt11debug_stats05inner2go",
            "<rustc_middle::ty::context::TyCtxt>::debug_stats::{closure#0}::inner::go",
        ),
        ("_ZN3foo3barE", None),
        (V8, None),
        ("main", None),
    ],
)
def test_names(mangled: str, name: str | None) -> None:
    assert demangle_rust(mangled) == name


def test_a_long_foreign_name_takes_no_time() -> None:
    start = time.perf_counter()
    assert demangle_rust(V8 + "PNS0_16DeclarationScopeE" * 100) is None
    assert demangle_rust("_ZN" + "1a" * 4000) is None
    assert time.perf_counter() - start < 0.1  # it would take longer than the universe has, not a little longer
