/** Length shaping of completions that come near the limit. */
import { ConfigError } from '../../core/errors.ts';

/**
 * 0 up to maxNewTokens − margin tokens, from there falling on a straight line to −1 at maxNewTokens.
 *
 * @param margin tokens before the limit where the penalty begins; 0 switches it off
 * @returns what is added to the score of each completion, in [−1, 0], from its tokens, the stop token included
 * @throws ConfigError when the margin is above the limit
 * @source Yu et al. 2025, "DAPO" (arXiv 2503.14476), eq. 13
 * @example lengths [60, 80, 100], limit 100, margin 40: [0, −0.5, −1]
 */
export function overlongPenalty(
  maxNewTokens: number,
  margin: number,
): (lengths: readonly number[]) => number[] {
  if (margin > maxNewTokens) {
    throw new ConfigError({
      where: 'overlongMargin',
      expected: `at most maxNewTokens (${maxNewTokens})`,
      received: String(margin),
    });
  }
  return (lengths) =>
    lengths.map((length) =>
      margin === 0 ? 0 : Math.max(-1, Math.min(0, (maxNewTokens - margin - length) / margin)),
    );
}
