/** The weekly stream of requests in which jailbreaks change their disguise: for detectors that have to keep up. */
import { ConfigError } from '../core/errors.ts';
import { type Disguised, disguisesOfWeek } from './disguises.ts';
import { drawAt } from './draw.ts';
import type { Kind, Request } from './request.ts';
import type { World } from './world.ts';

/** Number of the first request of the stream: none that the sets of `datasets.ts` are about. */
const streamStart = 10_000_000;

export interface StreamRow {
  readonly week: number;
  readonly prompt: string;
  /** Whether it is a disguised hazard. */
  readonly jailbreak: boolean;
  /** The family of its disguise; benign requests may wear one too. */
  readonly family?: number;
  readonly requestId: string;
}

export interface StreamOptions {
  readonly week: number;
  readonly count: number;
  /** Share of jailbreaks; default 0.17, as in the records of the paper. */
  readonly share?: number;
}

/**
 * Requests of a week: jailbreaks in the disguises of that week, and benign ones, a tenth of which wear one as well.
 *
 * @source JailbreaksOverTime (arXiv 2504.19440): 13–19 % jailbreaks a month
 */
export function weeklyStream(world: World, { week, count, share = 0.17 }: StreamOptions): StreamRow[] {
  if (!Number.isInteger(week) || week < 0 || !(share >= 0 && share <= 1)) {
    throw new ConfigError({
      where: 'weeklyStream',
      expected: 'a week from 0 and a share in [0, 1]',
      received: `week ${week}, share ${share}`,
    });
  }
  const disguises = disguisesOfWeek(world.rng.split('disguises'), week);
  const rng = world.rng.split('stream').split(week);
  return Array.from({ length: count }, (_, at): StreamRow => {
    const draw = drawAt(rng, at);
    const jailbreak = draw.chance(share);
    const kind: Kind = jailbreak
      ? 'hazard'
      : draw.weighted({ question: 5, 'how-to': 2, borderline: 2, unknowable: 1 });
    const request = world.requests({
      split: 'train',
      count: 1,
      kinds: [kind],
      from: streamStart + week * count + at,
    })[0]!;
    const worn = jailbreak || draw.chance(0.1) ? pickDisguise(disguises, draw.uniform()) : undefined;
    return {
      week,
      prompt: worn === undefined ? request.prompt : wear(request, worn.text),
      jailbreak,
      ...(worn === undefined ? {} : { family: worn.family }),
      requestId: request.id,
    };
  });
}

function pickDisguise(disguises: readonly Disguised[], uniform: number): Disguised {
  let left = uniform;
  return (
    disguises.find(({ share }) => {
      left -= share;
      return left < 0;
    }) ?? disguises.at(-1)!
  );
}

/** The prompt of a single-turn request with a disguise around its question. */
function wear({ turns }: Request, disguise: string): string {
  const text = turns[0]!.text;
  const question = (text.charAt(0).toLowerCase() + text.slice(1)).replace(/[.?]$/, '');
  return `User: ${disguise.replace('@', question)}\nAssistant:`;
}
