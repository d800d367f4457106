import { DataError } from '../core/errors.ts';
import type { OpTime } from './engine.ts';

/** One event of ONNX Runtime's profile, which is a Chrome trace. */
interface ProfileEvent {
  readonly cat?: string;
  readonly name?: string;
  /** Microseconds. */
  readonly dur?: number;
  readonly args?: { readonly op_name?: string };
}

/** Name of a node: the operation, its number in the program, then what lowering and ONNX Runtime's fusions appended. */
const nodeName = /^([A-Za-z]\w*?)_\d+(?!\w)/;

/**
 * Sums the kernel times of a profile by operation, longest first.
 *
 * A node that ONNX Runtime made itself (a fusion, a copy) and whose name does not tell the operation it came from counts
 * under its ONNX operator.
 *
 * @param text JSON that ONNX Runtime wrote.
 * @returns time in microseconds and number of kernel calls per operation.
 * @throws DataError when the text is not a profile.
 */
export function summarizeProfile(text: string): OpTime[] {
  let events: unknown;
  try {
    events = JSON.parse(text);
  } catch (cause) {
    throw notProfile(cause);
  }
  if (!Array.isArray(events)) throw notProfile(undefined);
  const totals = new Map<string, { calls: number; microseconds: number }>();
  for (const { cat, name = '', dur = 0, args } of events as ProfileEvent[]) {
    if (cat !== 'Node' || !name.endsWith('_kernel_time')) continue;
    const op = nodeName.exec(name.slice(0, -'_kernel_time'.length))?.[1] ?? args?.op_name ?? name;
    const total = totals.get(op) ?? { calls: 0, microseconds: 0 };
    total.calls++;
    total.microseconds += dur;
    totals.set(op, total);
  }
  return [...totals].map(([op, total]) => ({ op, ...total })).sort((a, b) => b.microseconds - a.microseconds);
}

function notProfile(cause: unknown): DataError {
  return new DataError({
    where: 'summarizeProfile',
    expected: 'a list of events in JSON',
    received: 'other text',
    fix: 'Check that ONNX Runtime could write its profile to the temporary folder',
    cause,
  });
}
