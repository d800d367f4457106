import { createRng, type Rng } from '../core/rng.ts';
import { drawAt } from './draw.ts';
import { createKnowledge, type Knowledge } from './knowledge.ts';
import type { Kind, Request, Split } from './request.ts';
import { createRequests, kindAt, parseRequestId } from './requests.ts';
import { type Style, writeResponse } from './responses.ts';

export interface RequestsOptions {
  readonly split: Split;
  readonly count: number;
  /** Only these kinds, in their usual proportion. */
  readonly kinds?: readonly Kind[];
  /** Number of the first request. Default 0. */
  readonly from?: number;
}

/** A small chat universe whose truth is known. The same seed gives the same world. */
export interface World {
  readonly seed: number;
  readonly knowledge: Knowledge;
  /** Random numbers of this world; consumers split their own streams off. */
  readonly rng: Rng;
  requests(options: RequestsOptions): Request[];
  /** The request of an id, such as the `requestId` of a row. @throws ConfigError when it is no id */
  request(id: string): Request;
  /** A response in a style; every field that is not given is ideal. `variant` chooses among wordings. */
  respond(request: Request, style?: Partial<Style>, variant?: number): string;
}

/**
 * @throws ConfigError when the seed is not an integer in [0, 2^53)
 * @example
 * const world = createWorld({ seed: 0 });
 * const [request] = world.requests({ split: 'train', count: 1 });
 * goldReward(scoreAttributes(request, world.respond(request))); // near 1
 */
export function createWorld({ seed }: { readonly seed: number }): World {
  const rng = createRng(seed).split('world');
  const knowledge = createKnowledge(rng.split('knowledge'));
  const make = createRequests(knowledge, rng.split('requests'));
  return {
    seed,
    knowledge,
    rng,
    requests: ({ split, count, kinds, from = 0 }) =>
      Array.from({ length: count }, (_, at) => make(split, kindAt(rng, split, from + at, kinds), from + at)),
    request: (id) => make(...parseRequestId(id)),
    respond: (request, style = {}, variant = 0) =>
      writeResponse(knowledge, request, style, drawAt(rng.split('respond').split(request.id), variant)),
  };
}
