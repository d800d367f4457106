/** Numbers and names as the report writes them. */
import { type Estimate, type PolicyName, policyNames } from './quickstart-report.ts';

const MINUS = '\u2212';
const NARROW_SPACE = '\u202f';
/** Keeps a number and its unit on one line. */
const SPACE = '\u00a0';

/** A number with fixed `digits` after the point, and a real minus sign; never −0. */
export function formatFixed(value: number, digits = 2): string {
  const text = value.toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return /^-[0.,]*$/.test(text) ? text.slice(1) : text.replace('-', MINUS);
}

/** A share as percent: `4.2 %` below ten percent, `42 %` above. */
export function formatShare(share: number): string {
  const percent = share * 100;
  const digits = percent > 0 && percent < 9.95 ? 1 : 0;
  return `${formatFixed(percent, digits)}${NARROW_SPACE}%`;
}

/** Three significant digits, for axes and tables of measures whose size is not known. */
export function formatMeasure(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replaceAll('-', MINUS);
  const digits = size === 0 || Number.isInteger(value) ? 0 : Math.max(0, 2 - Math.floor(Math.log10(size)));
  return formatFixed(value, digits);
}

/** `0.55 to 0.61`, each end written by `format`. */
export const formatInterval = ({ low, high }: Estimate, format: (value: number) => string): string =>
  `${format(low)} to ${format(high)}`;

/** `4.2 s`, `1 min 12 s`, `2 h 5 min`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${formatFixed(seconds, 1)}${SPACE}s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}${SPACE}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}${SPACE}min${SPACE}${whole % 60}${SPACE}s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)}${SPACE}h${SPACE}${minutes % 60}${SPACE}min`;
}

/** `512 MiB`, `1.9 GiB`. */
export function formatMemory(bytes: number): string {
  const mebibytes = bytes / 2 ** 20;
  return mebibytes < 1024
    ? `${formatFixed(mebibytes, 0)}${SPACE}MiB`
    : `${formatFixed(mebibytes / 1024, 1)}${SPACE}GiB`;
}

const labels: Readonly<Record<PolicyName, string>> = {
  sft: 'SFT',
  dpo: 'DPO',
  ppo: 'PPO',
  bestOfN: 'Best-of-n',
};

export const isPolicy = (name: string): name is PolicyName =>
  (policyNames as readonly string[]).includes(name);

/** The name that people read; a name that is not a policy's stays. */
export const policyLabel = (name: string): string => (isPolicy(name) ? labels[name] : name);

/** The name within a sentence. */
export const policyInText = (name: PolicyName): string => (name === 'bestOfN' ? 'best-of-n' : labels[name]);

/** `overRefusal` → `over-refusal`, so that names of fields read as words. */
export const wordsOf = (name: string): string =>
  name.replace(/([a-z])([A-Z])/g, (_, before: string, after: string) => `${before}-${after.toLowerCase()}`);

export const capitalize = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

/** `a`, `a and b`, `a, b and c`. */
export function formatList(items: readonly string[]): string {
  const last = items.at(-1) ?? '';
  return items.length < 2 ? last : `${items.slice(0, -1).join(', ')} and ${last}`;
}
