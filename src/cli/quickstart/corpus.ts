/**
 * A small generated text: questions to a shop assistant, and replies that end politely or not. Invented, seeded, and
 * large enough (thousands of distinct questions) that a model has to learn the pattern rather than the lines.
 */
import type { Rng } from '../../core/rng.ts';

export interface Reply {
  readonly prompt: string;
  /** The reply without its last sentence. */
  readonly body: string;
}

const things = [
  'red lamp',
  'blue lamp',
  'tin kettle',
  'oak chair',
  'wool blanket',
  'glass bowl',
  'garden hose',
  'paper lantern',
  'copper pan',
  'straw hat',
  'leather belt',
  'silver spoon',
  'wooden ladder',
  'green scarf',
  'clay pot',
  'brass bell',
  'canvas bag',
  'stone mortar',
  'iron gate',
  'white towel',
  'soap dish',
  'rain coat',
  'picture frame',
  'door mat',
] as const;
const places = [
  'on the top shelf',
  'beside the stairs',
  'near the front door',
  'behind the counter',
  'in the cellar',
  'under the window',
  'next to the mirrors',
  'at the end of the hall',
] as const;
const colours = ['red', 'blue', 'green', 'white', 'black', 'yellow', 'brown', 'grey'] as const;
const days = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] as const;

/** Last sentences of a polite reply. */
export const politeEndings = [
  'Thank you for asking!',
  'Have a lovely day!',
  'It was a pleasure to help you.',
  'Please come back soon!',
] as const;
/** Last sentences of a curt one. */
export const curtEndings = [
  'Look for it yourself.',
  'That is all.',
  'Next customer.',
  'Do not ask again.',
] as const;

/** A question with the body of its reply, drawn from the stream at `index`. */
export function makeReply(rng: Rng, index: number): Reply {
  const pick = <T>(list: readonly T[], slot: number): T => list[rng.integer(list.length, index, slot)]!;
  const thing = pick(things, 0);
  const place = pick(places, 1);
  const price = 2 + rng.integer(48, index, 2);
  const colour = pick(colours, 3);
  const day = pick(days, 4);
  const kinds: readonly Reply[] = [
    { prompt: `Where is the ${thing}?`, body: `The ${thing} is ${place}.` },
    { prompt: `How much is the ${thing}?`, body: `The ${thing} costs ${price} coins.` },
    { prompt: `Do you have a ${thing} in ${colour}?`, body: `Yes, there is a ${colour} one ${place}.` },
    { prompt: `Can I collect the ${thing} on ${day}?`, body: `On ${day} it will be ready ${place}.` },
    {
      prompt: `I paid ${price} coins for the ${thing}. May I return it?`,
      body: `You may return the ${thing} until ${day}.`,
    },
  ];
  return pick(kinds, 5);
}

/** Whether a reply ends with one of the polite sentences: the preference that the quickstart measures. */
export function endsPolitely(reply: string): boolean {
  return politeEndings.some((ending) => reply.trimEnd().endsWith(ending));
}

/** Demonstrations: replies of which about a third end politely. */
export function demonstrations(rng: Rng, count: number): { prompt: string; completion: string }[] {
  return Array.from({ length: count }, (_, index) => {
    const { prompt, body } = makeReply(rng.split('reply'), index);
    const endings = rng.split('manner').uniform(index) < 1 / 3 ? politeEndings : curtEndings;
    const ending = endings[rng.split('ending').integer(endings.length, index)]!;
    return { prompt, completion: ` ${body} ${ending}` };
  });
}

/** Pairs that differ in their last sentence only: polite is chosen. */
export function preferences(rng: Rng, count: number): { prompt: string; chosen: string; rejected: string }[] {
  return Array.from({ length: count }, (_, index) => {
    const { prompt, body } = makeReply(rng.split('reply'), index);
    const ending = (list: readonly string[], stream: string): string =>
      list[rng.split(stream).integer(list.length, index)]!;
    return {
      prompt,
      chosen: ` ${body} ${ending(politeEndings, 'polite')}`,
      rejected: ` ${body} ${ending(curtEndings, 'curt')}`,
    };
  });
}
