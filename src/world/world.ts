/** A world from a seed: what is true in it, what is asked, and how it is answered. */
import { createRng, type Rng } from '../core/rng.ts';
import { drawAt } from './draw.ts';
import { createKnowledge, type Knowledge } from './knowledge.ts';
import type { Kind, Request, Split } from './request.ts';
import { createRequests, kindAt, parseRequestId } from './requests.ts';
import { demonstrationStyle, respond, type Style } from './respond.ts';

export interface Demonstration {
  readonly prompt: string;
  readonly completion: string;
  readonly requestId: string;
}

export interface World {
  readonly seed: number;
  readonly knowledge: Knowledge;
  /** Random numbers of this world; consumers split streams of their own off. */
  readonly rng: Rng;
  /** Requests of a split from number `from` (default 0), in the usual shares of kinds or of the given kinds only. */
  requests(options: {
    readonly split: Split;
    readonly count: number;
    readonly kinds?: readonly Kind[];
    readonly from?: number;
  }): Request[];
  /** The request of an id. Throws `ConfigError` when it is none. */
  request(id: string): Request;
  /** A response in a style; draws depend on the request and `index`. */
  respond(request: Request, style: Style, index?: number): string;
  /** Requests of a split with a response of mixed quality each. */
  demonstrations(options: { readonly split: Split; readonly count: number }): Demonstration[];
}

/** Builds a world. Same seed, same world. */
export function createWorld({ seed }: { readonly seed: number }): World {
  const rng = createRng(seed).split('world');
  const knowledge = createKnowledge(rng.split('knowledge'));
  const requestsRng = rng.split('requests');
  const make = createRequests(knowledge, requestsRng);
  const world: World = {
    seed,
    knowledge,
    rng,
    requests: ({ split, count, kinds, from = 0 }) =>
      Array.from({ length: count }, (_, at) =>
        make(split, kindAt(requestsRng, split, from + at, kinds), from + at),
      ),
    request: (id) => make(...parseRequestId(id)),
    respond: (request, style, index = 0) => respond(request, style, rng.split('respond'), index),
    demonstrations: ({ split, count }) =>
      world.requests({ split, count }).map((request) => {
        const style = demonstrationStyle(request, drawAt(rng.split('style').split(request.id), 0));
        return { prompt: request.prompt, completion: world.respond(request, style), requestId: request.id };
      }),
  };
  return world;
}
