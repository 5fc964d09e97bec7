"""Views, broadcasts, sums and exact scaling: local work on whole tensors."""

import math
from functools import reduce
from itertools import count
from operator import mul

from Compiler.library import break_point, for_range
from Compiler.types import Array, MultiArray, cint, regint, sfix, sint

LARGEST = 63
"""Bits of the widest value that a truncation takes, sign included."""


def tensor(shape, value_type=sfix):
    """A new container, its elements not set."""
    return MultiArray(list(shape), value_type) if len(shape) > 1 else value_type.Array(shape[0])


def scratch(shape, value_type=sfix):
    """A new container whose address is known at run time only: the compiler then does not look at every element."""
    return _at(regint(tensor(shape, value_type).address), shape, value_type)


def store(vector, *shape):
    """A new container of this shape that holds `vector`; ends the basic block, so that later loads see it."""
    result = scratch(shape, type(vector))
    result.assign_vector(vector)
    break_point()
    return result


def _at(address, shape, value_type):
    if len(shape) == 1:
        return Array(shape[0], value_type, address=address)
    return MultiArray(list(shape), value_type, address=address)


def view(x, *shape):
    """The same memory under another shape."""
    if reduce(mul, shape) != x.total_size():
        raise ValueError(f"a tensor {tuple(x.shape)} has no view {shape}")
    return _at(x.address, shape, x.value_type)


def as_matrix(x):
    """`[..., c]` as `[rows, c]`."""
    return view(x, x.total_size() // x.shape[-1], x.shape[-1])


def public(rows):
    """Lists of integers as one public container `[n, m]`, for loops that read a row by its number."""
    result = tensor((len(rows), len(rows[0])), cint)
    for i, row in enumerate(rows):
        result[i].assign(row)
    break_point()
    return result


def numbers_in(row):
    """The numbers of a row of `public`, for `spread`."""
    return [(row, j) for j in range(len(row))]


def spread(number, size):
    """A public number for products with vectors of this size: an integer, or a vector of what stands in memory, as the
    compiler would copy a register element by element.
    """
    if isinstance(number, int):
        return number
    row, place = number
    return row.expand_to_vector(place, size)


def picked(x, numbers):
    """The tensors x[i], one behind the other, for every i of `numbers`, which may be known at run time only.

    x `[n, m, *shape]` -> `[len(numbers) * m, *shape]`; local.
    """
    parts = [x[i].get_vector() for i in numbers]
    return store(type(parts[0]).concat(parts), len(numbers) * x.shape[1], *x.shape[2:])


def in_pieces(size, most, body):
    """body(base, count) for consecutive pieces of at most `most` of `size` elements; all but the last in a loop."""
    pieces, rest = divmod(size, most)
    if pieces:

        @for_range(pieces)
        def _(i):
            body(i * most, most)

    if rest:
        body(pieces * most, rest)


def elementwise(function, vector, most):
    """A container of function(vector), in equal pieces of at most `most` elements, so that one loop does all."""
    size = vector.size
    pieces = next(n for n in count(-(-size // most)) if size % n == 0)
    source = store(vector, size)
    result = scratch(source.shape, type(vector))
    in_pieces(size, size // pieces, lambda at, n: result.assign_vector(function(source.get_vector(at, n)), at))
    break_point()
    return result


def gather(x, addresses):
    """Elements of x at these offsets (a regint vector), as a vector."""
    return x.value_type.load_mem(x.address + addresses)


def plus(x, y):
    """x + y of the same shape; local."""
    return store(x.get_vector() + y.get_vector(), *x.shape)


def across_rows(x, rows):
    """`[c]` -> vector of `rows * c`: x in every row."""
    columns = x.total_size()
    return gather(x, regint.inc(rows * columns, 0, 1, 1, columns))


def across_columns(vector, columns):
    """Vector of `rows` -> vector of `rows * columns`: element i all along row i."""
    return gather(store(vector, vector.size), regint.inc(vector.size * columns, 0, 1, columns))


def row_sums(vector, columns):
    """Vector of `rows * columns` (sint or sfix) -> vector of `rows`: differences of one prefix sum, exact modulo
    the ring.
    """
    rows = vector.size // columns
    ends = vector.prefix_sum().get_vector(columns - 1, rows, columns)
    if rows == 1:
        return ends
    kind = type(vector)
    return ends - kind.concat([kind(0, size=1), ends.get_vector(0, rows - 1)])


def transposed(x):
    """Vector of `[B, c]` read column by column, each column of B next to the other."""
    rows, columns = x.shape
    return gather(x, regint.inc(rows * columns, 0, columns, 1, rows) + regint.inc(rows * columns, 0, 1, rows))


def rescale(raw, scale, factor=1.0, bits=LARGEST):
    """`raw` (sint at `scale` bits) times a public factor, as sfix.

    The factor keeps 15 significant bits (relative error 2^-16), whatever its size: 1/768 at f = 16 would be 0.4 %
    off.
    Shapes: any vector. Scale: `scale` -> f.
    Interval: |raw| * 2^15 < 2^62, or |raw| < 2^62 for a power of two; 2^(bits - 1) in place of 2^62.
    Error: 1 unit + 2^-16 relative.
    Rounds: 2. Opens: nothing.
    """
    mantissa, exponent = math.frexp(factor)
    numerator = round(mantissa * 2**15)
    exponent -= 15
    while numerator % 2 == 0:
        numerator //= 2
        exponent += 1
    shift = scale - exponent - sfix.f
    if shift < 0:
        numerator, shift = numerator << -shift, 0
    product = raw if numerator == 1 else raw * numerator
    if shift == 0:
        return sfix._new(product)
    return sfix._new(product.round(bits, shift, nearest=sfix.round_nearest))


def raw_product(a, b):
    """Elementwise product of two sfix vectors before truncation: sint at scale 2f."""
    return a.v * b.v


def integers(bits):
    """A vector of secret bits as sint, for products with sfix that need no truncation."""
    return sint.conv(bits)
