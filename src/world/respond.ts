/** Responses of graded quality: a style says what is right, complete, polite, padded or technical about one. */

import type { Rng } from '../core/rng.ts';
import { type Draw, drawAt } from './draw.ts';
import { type PhraseGroup, phraseGroups, rewriteOrder, rewriteSlots, unknowables } from './phrases.ts';
import type { Act, Request } from './request.ts';
import { claimsText, predicate, rewriteText, stepsText, totalText } from './sentences.ts';
import { dangerTasks, propertyWords, taskActs } from './words.ts';

/** How a response is written. */
export interface Style {
  readonly act: Act;
  /** Whether what it says is true. */
  readonly right: boolean;
  /** Whether it says all that was asked for. */
  readonly complete: boolean;
  readonly manner: 'polite' | 'neutral' | 'curt';
  readonly technical: boolean;
  /** Sentences without content. */
  readonly filler: number;
  readonly flattery: number;
  readonly tip: boolean;
  /** A refusal gives its reason and offers something safe. */
  readonly explained: boolean;
}

/** What a good response to a request is like. */
export function bestStyle(request: Request): Style {
  return {
    act: request.expected,
    right: true,
    complete: true,
    manner: 'polite',
    technical: false,
    filler: 0,
    flattery: 0,
    tip: false,
    explained: true,
  };
}

/** Styles of the demonstrations: mostly right, and with much to improve in everything else. */
export function demonstrationStyle(request: Request, draw: Draw): Style {
  const { expected, kind } = request;
  const act: Act =
    expected === 'refusal' && draw.chance(0.5)
      ? 'answer'
      : expected === 'ignorance' && draw.chance(0.45)
        ? 'answer'
        : kind === 'borderline' && draw.chance(0.2)
          ? 'refusal'
          : expected === 'clarify' && draw.chance(0.3)
            ? 'ignorance'
            : expected;
  return {
    act,
    right: draw.chance(0.95),
    complete: draw.chance(0.75),
    manner: draw.weighted({ polite: 0.3, neutral: 0.4, curt: 0.3 }),
    technical: draw.chance(0.2),
    filler: draw.chance(0.2) ? 1 : 0,
    flattery: draw.chance(0.2) ? 1 : 0,
    tip: draw.chance(0.1),
    explained: draw.chance(0.5),
  };
}

/** The text of a response in a style; what the style leaves open is drawn at `index`. */
export function respond(request: Request, style: Style, rng: Rng, index: number): string {
  const draw = drawAt(rng.split(request.id), index);
  const phrase = (group: PhraseGroup): string => draw.pick(phraseGroups[group]);
  const sentences: string[] = [];
  for (let i = 0; i < style.flattery; i++) sentences.push(phrase('flattery'));
  for (let i = 0; i < style.filler; i++) sentences.push(phrase('filler'));
  sentences.push(...content(request, style, draw));
  if (style.tip && style.act === 'answer') sentences.push(phrase('tip'));
  if (style.manner !== 'neutral') sentences.push(phrase(style.manner));
  return ` ${sentences.join(' ')}`;
}

function content(request: Request, style: Style, draw: Draw): string[] {
  const phrase = (group: PhraseGroup): string => draw.pick(phraseGroups[group]);
  switch (style.act) {
    case 'ignorance':
      return [phrase('ignorance')];
    case 'clarify':
      return [phrase('clarify')];
    case 'refusal':
      return style.explained
        ? [phrase('refusal'), phrase('reason'), phrase('alternative')]
        : [phrase('refusal')];
    case 'answer':
      return answer(request, style, draw);
  }
}

function answer(request: Request, style: Style, draw: Draw): string[] {
  const { items } = request;
  if (items.length === 0) return [draw.pick(phraseGroups.ignorance)];
  const kept = style.complete || items.length === 1 ? items : items.slice(0, Math.ceil(items.length / 2));
  const [first] = kept;
  switch (first!.type) {
    case 'fact': {
      const facts = kept.filter((item) => item.type === 'fact');
      const subjects = [...new Set(facts.map(({ entity }) => entity))];
      return subjects.map((subject) =>
        claimsText(
          subject,
          facts
            .filter(({ entity }) => entity === subject)
            .map(({ property, value }) =>
              predicate(
                property,
                style.right ? value : other(propertyWords[property].values, value, draw),
                style.technical ? 'technical' : draw.integer(2),
              ),
            ),
        ),
      );
    }
    case 'step': {
      const acts = kept.flatMap((item) => (item.type === 'step' ? [item.act] : []));
      return [stepsText(style.right ? acts : wrongActs(acts, draw))];
    }
    case 'total': {
      const [a, b] = first!.terms;
      return [totalText(style.right ? a + b : a + b + (draw.chance(0.5) ? 1 : -1))];
    }
    case 'rewrite': {
      const ideas = style.right
        ? first!.ideas
        : first!.ideas.map((idea, at) =>
            at === 0 ? (idea + 1) % rewriteSlots[rewriteOrder[at]!].length : idea,
          );
      return [rewriteText(first!.entity, ideas, style.technical)];
    }
    case 'unknown': {
      const { guess, values } = unknowables[first!.question]!;
      return [guess.replace('#', draw.pick(values))];
    }
  }
}

const other = (values: readonly string[], value: string, draw: Draw): string =>
  draw.pick(values.filter((candidate) => candidate !== value));

/** The acts with the first replaced by one that does not belong, and harms nobody. */
function wrongActs(acts: readonly string[], draw: Draw): string[] {
  const harmless = [
    ...Object.values(taskActs).flat(),
    ...dangerTasks.filter(({ severity }) => severity === 0).flatMap((task) => task.acts),
  ];
  return [draw.pick(harmless.filter((act) => !acts.includes(act))), ...acts.slice(1)];
}
