// Metadata: what goes beside a handshake, an open, a call or a response.

import type { Failure } from "./errors.js";

export const SENSITIVE = 1n;
export const NO_PROPAGATE = 2n;

/** An entry. Text, bytes and unsigned numbers of 64 bits are its values. */
export interface MetadataEntry {
  readonly key: string;
  readonly value: string | Uint8Array | bigint;
  /** SENSITIVE, NO_PROPAGATE, or their sum. */
  readonly flags?: bigint;
}

/** Entries in order. Several may have the same key. */
export type Metadata = readonly MetadataEntry[];

/** Return the first text of this key, or null. */
export function textOf(metadata: Metadata, key: string): string | null {
  const found = metadata.find((entry) => entry.key === key)?.value;
  return typeof found === "string" ? found : null;
}

/** Return the first number of this key, or null. */
export function numberOf(metadata: Metadata, key: string): bigint | null {
  const found = metadata.find((entry) => entry.key === key)?.value;
  return typeof found === "bigint" ? found : null;
}

/** The entry by which a peer says that it knows those below. */
export const KNOWS_ENTRIES: MetadataEntry = { key: "roam-trio", value: 1n, flags: NO_PROPAGATE };

const DEADLINE = "request-deadline";
const LONGEST_MS = 24 * 3600 * 1000;

/** Return the entry that says how much time a call has left. */
export function deadlineEntry(milliseconds: number): MetadataEntry {
  const value = BigInt(Math.max(0, Math.ceil(milliseconds * 1000)));
  return { key: DEADLINE, value, flags: NO_PROPAGATE };
}

/** Return the number of milliseconds that a call has left, or null. */
export function deadlineOf(metadata: Metadata): number | null {
  const value = numberOf(metadata, DEADLINE);
  return value === null ? null : Math.min(Number(value) / 1000, LONGEST_MS);
}

/** Return what a response says about a call that was cancelled. */
export function failureOf(metadata: Metadata): Failure {
  const later = numberOf(metadata, "retry-after-ms");
  return {
    code: textOf(metadata, "error-code") ?? "",
    text: textOf(metadata, "error-text") ?? "",
    id: textOf(metadata, "error-id") ?? "",
    retryAfterMs: later === null ? null : Number(later),
  };
}
