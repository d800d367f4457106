/** Responses of graded quality: a style says, attribute by attribute, how good the text is to be. */
import type { Draw } from './draw.ts';
import type { Entity, Knowledge } from './knowledge.ts';
import { type PhraseGroup, phraseGroups, rewriteOrder, rewriteSlots, unknowables } from './phrases.ts';
import type { Act, Item, Request } from './request.ts';
import { capital } from './requests.ts';
import { properties, propertyWords, taskActs } from './words.ts';

/** How a response is to be. Every field is the ideal one unless given. */
export interface Style {
  /** Default: what the request expects. `answer` to an unanswerable question is a guess; to a hazard, compliance. */
  readonly act: Act;
  /** Items that are answered wrongly. */
  readonly wrong: number;
  /** Items that are left out. */
  readonly dropped: number;
  readonly manner: 'polite' | 'neutral' | 'curt';
  /** Sentences of flattery in front. */
  readonly flattery: number;
  /** Sentences that say nothing. */
  readonly filler: number;
  /** A useful tip after an answer. */
  readonly tip: boolean;
  /** Plain rather than technical language. */
  readonly plain: boolean;
  /** The markers that the kind of request calls for: `First, …`, `In short, …`, `Answer: …`. */
  readonly formatted: boolean;
  /** A sentence about something else. */
  readonly stray: boolean;
  /** Says that it does not know although it does. */
  readonly denial: boolean;
  /** Reason and safe alternative after a refusal. */
  readonly explained: boolean;
}

export const idealStyle: Omit<Style, 'act'> = {
  wrong: 0,
  dropped: 0,
  manner: 'polite',
  flattery: 0,
  filler: 0,
  tip: true,
  plain: true,
  formatted: true,
  stray: false,
  denial: false,
  explained: true,
};

/** Writes the response to a request in a style. It starts with a space, as completions of the world do. */
export function writeResponse(
  knowledge: Knowledge,
  request: Request,
  style: Partial<Style>,
  draw: Draw,
): string {
  const full: Style = { ...idealStyle, act: request.expected, ...style };
  const phrase = (group: PhraseGroup): string => draw.pick<string>(phraseGroups[group]);
  const sentences = [
    ...Array.from({ length: full.flattery }, () => phrase('flattery')),
    ...(full.filler > 0 ? draw.sample<string>(phraseGroups.filler, full.filler) : []),
    ...body(knowledge, request, full, draw),
  ];
  if (full.stray) sentences.push(straySentence(knowledge, request, draw));
  if (full.denial) sentences.push(phrase('ignorance'));
  if (full.manner !== 'neutral') sentences.push(phrase(full.manner));
  return ` ${sentences.join(' ')}`;
}

function body(knowledge: Knowledge, request: Request, style: Style, draw: Draw): string[] {
  const phrase = (group: PhraseGroup): string => draw.pick<string>(phraseGroups[group]);
  switch (style.act) {
    case 'refusal':
      return [phrase('refusal'), ...(style.explained ? [phrase('reason'), phrase('alternative')] : [])];
    case 'clarify':
      return [phrase('clarify')];
    case 'ignorance':
      return [phrase('ignorance')];
    case 'answer': {
      // A vague question answered all the same: a fact about anything.
      if (request.items.length === 0) return [straySentence(knowledge, request, draw)];
      const items = spoil(knowledge, request.items, style, draw);
      return [...sayItems(request, items, style, draw), ...(style.tip ? [phrase('tip')] : [])];
    }
  }
}

/** Drops and falsifies items as the style asks; at least one stays. */
function spoil(knowledge: Knowledge, items: readonly Item[], style: Style, draw: Draw): Item[] {
  const kept = Math.max(1, items.length - style.dropped);
  const keep = new Set(draw.sample([...items.keys()], kept));
  const rest = items.filter((_, at) => keep.has(at));
  const wrong = new Set(draw.sample([...rest.keys()], style.wrong));
  return rest.map((item, at) => (wrong.has(at) ? falsify(knowledge, item, items, draw) : item));
}

function falsify(knowledge: Knowledge, item: Item, items: readonly Item[], draw: Draw): Item {
  switch (item.type) {
    case 'fact': {
      const values = propertyWords[item.property].values.filter((value) => value !== item.value);
      return { ...item, value: draw.pick(values) };
    }
    case 'step': {
      const told = new Set(items.map((other) => (other.type === 'step' ? other.act : '')));
      const family =
        Object.values(taskActs).find((acts) => acts.includes(item.act)) ??
        [...knowledge.hazards, ...knowledge.lookalikes]
          .filter(
            ({ severity, acts }) =>
              severity > 0 === isHazardous(knowledge, item.act) && !acts.includes(item.act),
          )
          .flatMap(({ acts }) => acts);
      return { type: 'step', act: draw.pick(family.filter((act) => !told.has(act))) };
    }
    case 'total':
      return { type: 'total', terms: [item.terms[0], item.terms[1] + draw.pick([-1, 1, 2])] };
    case 'rewrite': {
      const slot = draw.integer(item.ideas.length);
      const count = rewriteSlots[rewriteOrder[slot]!].length;
      const ideas = item.ideas.map((idea, at) =>
        at === slot ? (idea + 1 + draw.integer(count - 1)) % count : idea,
      );
      return { ...item, ideas };
    }
    case 'unknown':
      return item;
  }
}

function isHazardous(knowledge: Knowledge, act: string): boolean {
  return knowledge.hazards.some(({ acts }) => acts.includes(act));
}

function sayItems(request: Request, items: readonly Item[], style: Style, draw: Draw): string[] {
  const [first] = items;
  switch (first!.type) {
    case 'fact':
      return request.kind === 'summary' && style.formatted
        ? [summarize(items, style, draw)]
        : sayFacts(items, style, draw);
    case 'step':
      return items.map((item, at) => {
        const { act } = item as Extract<Item, { type: 'step' }>;
        const marker = at === 0 ? 'First' : at === items.length - 1 ? 'Last' : 'Then';
        return style.formatted ? `${marker}, ${act}.` : `${capital(act)}.`;
      });
    case 'total': {
      const total = first!.terms[0] + first!.terms[1];
      const asked = request.items[0] as Extract<Item, { type: 'total' }>;
      const working = draw.chance(0.4) ? [`${asked.terms[0]} and ${asked.terms[1]} make ${total}.`] : [];
      return [...working, style.formatted ? `Answer: ${total} coins.` : `It is ${total} coins.`];
    }
    case 'rewrite': {
      const [verb, manner, link, use] = rewriteOrder.map(
        (slot, at) => rewriteSlots[slot][first!.ideas[at]!]![style.plain ? 1 : 0],
      );
      const text = `${verb} the ${first!.entity} ${manner} ${link} ${use}.`;
      return [style.formatted ? `In plain words, ${text}` : capital(text)];
    }
    case 'unknown': {
      const { guess, values } = unknowables[first!.question]!;
      return [guess.replace('#', draw.pick(values))];
    }
  }
}

/** A fact as a predicate: `is red`. */
function predicate(item: Item, style: Pick<Style, 'plain'>, draw: Draw): string {
  const { property, value } = item as Extract<Item, { type: 'fact' }>;
  const { plain, technical } = propertyWords[property];
  return (style.plain ? draw.pick(plain) : technical).replace('#', value);
}

function sayFacts(items: readonly Item[], style: Style, draw: Draw): string[] {
  let named = '';
  return items.map((item) => {
    const { entity } = item as Extract<Item, { type: 'fact' }>;
    const subject = entity === named || (named === '' && draw.chance(0.2)) ? 'It' : `The ${entity}`;
    named = entity;
    return `${subject} ${predicate(item, style, draw)}.`;
  });
}

function summarize(items: readonly Item[], style: Style, draw: Draw): string {
  const { entity } = items[0] as Extract<Item, { type: 'fact' }>;
  const parts = items.map((item) => predicate(item, style, draw));
  const last = parts.pop()!;
  const all = parts.length === 0 ? last : `${parts.join(', ')} and ${last}`;
  return `In short, the ${entity} ${all}.`;
}

/** A true sentence about an entity that the conversation is not about. */
function straySentence(knowledge: Knowledge, request: Request, draw: Draw): string {
  let other: Entity;
  do other = draw.pick(knowledge.entities);
  while (request.about.includes(other.name));
  const property = draw.pick(properties);
  return `The ${other.name} ${draw.pick(propertyWords[property].plain).replace('#', other.facts[property])}.`;
}
