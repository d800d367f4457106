import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toRows } from './row.ts';
import {
  detectRowType,
  parseLanguageModeling,
  parsePreference,
  parsePromptCompletion,
  parsePromptOnly,
  parseStepwise,
  parseSupervised,
  parseUnpaired,
} from './row-types.ts';
import { splitCommonText } from './split-prompt.ts';

const row = (columns: Record<string, unknown>) => toRows([{}, {}, columns], 'd.jsonl')[2]!;
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });

describe('row types', () => {
  it('are told by their columns', () => {
    const types = [
      { text: 'a' },
      { messages: [] },
      { prompt: 'a' },
      { prompt: 'a', completion: 'b' },
      { prompt: 'a', completion: 'b', label: true },
      { chosen: 'a', rejected: 'b' },
      { prompt: 'p', chosen: 'a', rejected: 'b', text: 'extra' },
      { prompt: 'p', completions: ['a'], labels: [true] },
      { question: 'a' },
    ].map((columns) => detectRowType(row(columns)));
    expect(types).toEqual([
      'language modeling',
      'language modeling',
      'prompt-only',
      'prompt-completion',
      'unpaired preference',
      'preference',
      'preference',
      'stepwise supervision',
      undefined,
    ]);
  });

  it('name the row, the missing column and the columns that are there', () => {
    expect(() => parsePreference(row({ prompt: 'a', rejected: 'b' }))).toThrow(
      'd.jsonl, row 3: expected a column `chosen`, received columns `prompt`, `rejected` of a prompt-only row. ' +
        'A preference row has `chosen` and `rejected`, and `prompt` unless both begin with it.',
    );
    expect(() => parseLanguageModeling(row({ prompt: 'a', completion: 'b' }))).toThrow(
      'expected a column `text`, received columns `prompt`, `completion` of a prompt-completion row',
    );
    expect(() => parseSupervised(row({ prompt: 'a', chosen: 'b', rejected: 'c' }))).toThrow(
      'd.jsonl, row 3: expected a column `completion` beside `prompt`, or `messages`, or `text`, ' +
        'received columns `prompt`, `chosen`, `rejected` of a preference row',
    );
    expect(() => parsePromptOnly(row({}))).toThrow('expected a column `prompt`, received no columns');
    expect(() => parseUnpaired(row({ prompt: 'a', completion: 'b' }))).toThrow('expected a column `label`');
    expect(() => parseUnpaired(row({ prompt: 'a', completion: 'b', label: 1 }))).toThrow(
      'd.jsonl, row 3, `label`: expected true or false, received 1',
    );
  });

  it('say which message is malformed', () => {
    const parse = (messages: unknown) => () => parseLanguageModeling(row({ messages }));
    expect(parse([user('a'), { role: 'assistant' }])).toThrow(
      'd.jsonl, row 3, `messages[1]`: expected a message {role, content}, received {"role":"assistant"}',
    );
    expect(parse(7)).toThrow('expected a string or a list of messages, received 7');
    expect(parse([user('a')])).toThrow(
      'expected at least one message of the role assistant, received ["user"]',
    );
    expect(parse([user('a'), { role: 'assistant', tool_calls: [{}] }])).not.toThrow();
  });

  it('refuse empty and equal completions', () => {
    expect(() => parsePromptCompletion(row({ prompt: 'a', completion: ' \n' }))).toThrow(
      'd.jsonl, row 3, `completion`: expected a completion that is not empty',
    );
    expect(() => parsePromptCompletion(row({ prompt: [user('a')], completion: [assistant('')] }))).toThrow(
      '`completion[0].content`: expected a completion that is not empty',
    );
    expect(() => parsePreference(row({ prompt: 'a', chosen: 'b', rejected: 'b' }))).toThrow(
      'd.jsonl, row 3: expected `chosen` and `rejected` to differ, received equal completions',
    );
    expect(() =>
      parsePreference(row({ prompt: [user('a')], chosen: [user('b')], rejected: [user('c')] })),
    ).toThrow('begins with a message of the role assistant, received ["user"]');
    expect(() =>
      parsePreference(row({ prompt: 'a', chosen: [assistant('b')], rejected: [assistant('c')] })),
    ).toThrow(
      '`prompt` and `chosen` to be both strings or both lists of messages, received a string and messages',
    );
  });

  it('take the prompt of a conversation from what both sides begin with', () => {
    const start = [user('q'), assistant('a'), user('r')];
    const sides = { chosen: [...start, assistant('yes')], rejected: [...start, assistant('no')] };
    const split = { prompt: start, chosen: [assistant('yes')], rejected: [assistant('no')] };
    expect(parsePreference(row(sides))).toMatchObject(split);
    // An explicit prompt that both sides repeat is not repeated.
    expect(parsePreference(row({ prompt: start, ...sides }))).toMatchObject(split);
    expect(
      parsePreference(row({ prompt: start, chosen: split.chosen, rejected: split.rejected })),
    ).toMatchObject(split);
    expect(() => parsePreference(row({ chosen: start, rejected: [...start, assistant('no')] }))).toThrow(
      '`chosen`: expected a completion that is not empty',
    );
  });

  it('read steps with one label each', () => {
    const steps = { prompt: 'q', completions: ['a', 'b'], labels: [true, false] };
    expect(parseStepwise(row(steps))).toEqual({ where: 'd.jsonl, row 3', ...steps });
    const refusals = [
      [{ prompt: undefined }, 'expected a column `prompt`'],
      [{ labels: undefined }, 'expected a column `labels`'],
      [{ prompt: [user('q')] }, '`prompt`: expected a string'],
      [{ completions: [] }, '`completions`: expected a list of at least one step'],
      [{ completions: ['a', ' '] }, '`completions[1]`: expected a text that is not empty'],
      [{ labels: [true] }, '`labels`: expected a list of 2, one for each step'],
      [{ labels: [true, 1] }, '`labels[1]`: expected true or false, received 1'],
    ] as const;
    for (const [change, message] of refusals) {
      expect(() => parseStepwise(row({ ...steps, ...change }))).toThrow(message);
    }
  });

  it('read tools given as JSON text', () => {
    const messages = [user('a'), assistant('b')];
    expect(parseLanguageModeling(row({ messages, tools: '[{"name":"f"}]' })).tools).toEqual([{ name: 'f' }]);
    expect(() => parseLanguageModeling(row({ messages, tools: '{' }))).toThrow('`tools`: expected a list');
  });
});

describe('splitCommonText', () => {
  it('cuts before the last white space that both share', () => {
    expect(splitCommonText('The sky is blue', 'The sky is black')).toEqual({
      prompt: 'The sky is',
      chosen: ' blue',
      rejected: ' black',
    });
    const turn = '\n\nHuman: Hi\n\nAssistant:';
    expect(splitCommonText(`${turn} Yes`, `${turn} Yet`).prompt).toBe(turn);
    expect(splitCommonText('one\n\ntwo', 'one\n\nten')).toMatchObject({ prompt: 'one', chosen: '\n\ntwo' });
    expect(splitCommonText('blue', 'black').prompt).toBe('');
    expect(splitCommonText('The sky', 'The sky is')).toMatchObject({ prompt: 'The', rejected: ' sky is' });
  });

  it('keeps the texts, cuts at white space and shares the prompt', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\n') });
    fc.assert(
      fc.property(text, text, text, (start, a, b) => {
        const { prompt, chosen, rejected } = splitCommonText(start + a, start + b);
        expect([prompt + chosen, prompt + rejected]).toEqual([start + a, start + b]);
        if (prompt !== '') expect(`${prompt}|${chosen[0]}`).toMatch(/\S\|\s$/);
      }),
    );
  });
});
