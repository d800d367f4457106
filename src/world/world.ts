/** A world from a seed: what is true in it, what is asked, and how it is answered. */
import { createRng } from '../core/rng.ts';
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
  /** The first `count` requests of a split, in the usual shares of kinds or of the given kinds only. */
  requests(options: {
    readonly split: Split;
    readonly count: number;
    readonly kinds?: readonly Kind[];
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
    requests: ({ split, count, kinds }) =>
      Array.from({ length: count }, (_, index) =>
        make(split, kindAt(requestsRng, split, index, kinds), index),
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
