// The values that tests send, as `wire_types.py` has them.

import type { Chain, Containers, Expr, Figure, Integers, PagePoint, Scalars, Tree } from "./generated.js";

export const LOWEST: Integers = {
  tiny: 0,
  small: 0,
  medium: 0,
  large: 0n,
  huge: 0n,
  signed_tiny: -128,
  signed_small: -32768,
  signed_medium: -(2 ** 31),
  signed_large: -(2n ** 63n),
  signed_huge: -(2n ** 127n),
  size: 0n,
  signed_size: -(2n ** 63n),
};

export const HIGHEST: Integers = {
  tiny: 255,
  small: 65535,
  medium: 2 ** 32 - 1,
  large: 2n ** 64n - 1n,
  huge: 2n ** 128n - 1n,
  signed_tiny: 127,
  signed_small: 32767,
  signed_medium: 2 ** 31 - 1,
  signed_large: 2n ** 63n - 1n,
  signed_huge: 2n ** 127n - 1n,
  size: 2n ** 64n - 1n,
  signed_size: 2n ** 63n - 1n,
};

export const SCALARS: Scalars = {
  yes: true,
  single: Math.fround(-0.1),
  double: 1e300,
  letter: "🦀",
  word: "héllo 世界",
  data: new Uint8Array([0, 1, 254, 255]),
  nothing: null,
};

export const CONTAINERS: Containers = {
  list: [-1, 0, 1],
  lists: [[], ["a", ""]],
  maybe: 7,
  maybe_list: null,
  array: [1, 300, 65535],
  digest: new Uint8Array([0xde, 0xad, 0xbe, 0xef]),
  map: new Map([
    ["one", 1],
    ["two", 2],
  ]),
  hash_map: new Map([[9, true]]),
  set: new Set(["a", "é"]),
  pair: [255, "last"],
  nested: [false, [-300, [0.5, -2]]],
  shared: "shared",
  boxed: -(1n << 40n),
};

export const FIGURES: Figure[] = [
  { is: "Nothing" },
  { is: "Circle", value: 1.5 },
  { is: "Segment", value: [0.25, -8] },
  { is: "Rectangle", value: { width: 300, height: 2 } },
  {
    is: "Polygon",
    value: [
      { x: -1, y: 1 },
      { x: 64, y: -65 },
    ],
  },
  { is: "Named", value: { label: "inner", figure: { is: "Circle", value: 0 } } },
];

export const TREE: Tree = {
  value: 1,
  children: [
    { value: -2, children: [] },
    { value: 3, children: [{ value: 4, children: [] }] },
  ],
};

function number(value: bigint): Expr {
  return { is: "Number", value };
}

export const EXPR: Expr = {
  is: "Sum",
  value: [number(5n), { is: "Negated", value: { operand: { is: "Sum", value: [number(2n), number(1n)] } } }],
};

export const PAGE: PagePoint = {
  items: [
    { x: 1, y: 2 },
    { x: -3, y: 4 },
  ],
  total: 1000,
};

export function chain(length: number): Chain {
  return { value: length, next: length > 1 ? chain(length - 1) : null };
}

export function valueOf(expr: Expr): bigint {
  switch (expr.is) {
    case "Number":
      return expr.value;
    case "Sum":
      return valueOf(expr.value[0]) + valueOf(expr.value[1]);
    case "Negated":
      return -valueOf(expr.value.operand);
  }
}
