/** Numbers for people. */

/**
 * Whole numbers with thousands separated, others with `digits` significant digits, very small and very large ones with an
 * exponent.
 *
 * @example formatNumber(12345) // '12,345'
 * @example formatNumber(0.00005) // '5e-5'
 */
export function formatNumber(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return String(value);
  // Without the sign that a rounded zero may have.
  if (value === 0) return '0';
  if (Number.isInteger(value) && Math.abs(value) < 1e12) return value.toLocaleString('en-US');
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e9)
    return value
      .toExponential(digits - 1)
      .replace(/\.?0+e/, 'e')
      .replace('e+', 'e');
  if (size >= 10 ** digits) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(digits)));
}

/** Seconds as `0:07`, `12:34`, `1:02:03`; `–` when not finite. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–';
  const whole = Math.max(0, Math.round(seconds));
  const pad = (part: number): string => String(part).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

/** Bytes with a binary unit: `15.6 GiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 ? size : Number(size.toPrecision(3))} ${units[unit]}`;
}
