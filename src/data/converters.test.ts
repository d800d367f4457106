import { describe, expect, it } from 'vitest';
import { type ConverterName, convertRow, detectConverter } from './converters.ts';
import { toRows } from './row.ts';
import { detectRowType, parsePreference } from './row-types.ts';

const row = (columns: Record<string, unknown>) => toRows([columns], 'd.jsonl')[0]!;
const convert = (columns: Record<string, unknown>, name?: ConverterName) =>
  convertRow(row(columns), name ?? detectConverter(row(columns))!).map((converted) => converted.columns);
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });

const hh = {
  chosen: '\n\nHuman: Hi\n\nAssistant: Hello.\n\nHow are you?\n\nHuman: Well\n\nAssistant: Good.',
  rejected: '\n\nHuman: Hi\n\nAssistant: Hello.\n\nHow are you?\n\nHuman: Well\n\nAssistant: So?',
};
const pku = {
  prompt: 'How?',
  response_0: 'Thus.',
  response_1: 'I would rather not.',
  is_response_0_safe: false,
  is_response_1_safe: true,
  better_response_id: 0,
  safer_response_id: 1,
  response_0_severity_level: 2,
  source: 'web',
};
const rating = (response: string, ...ratings: string[]) => ({
  response,
  annotations: Object.fromEntries(ratings.map((value, index) => [`a${index}`, { Rating: value }])),
});

describe('converters', () => {
  it('read HH-RLHF as conversations with what both sides begin with as prompt', () => {
    const [columns] = convert(hh);
    const start = [user('Hi'), assistant('Hello.\n\nHow are you?'), user('Well')];
    expect(columns).toEqual({
      chosen: [...start, assistant('Good.')],
      rejected: [...start, assistant('So?')],
    });
    expect(parsePreference(row(columns!))).toMatchObject({
      prompt: start,
      chosen: [assistant('Good.')],
      rejected: [assistant('So?')],
    });
    expect(() => convert({ chosen: 'Hi', rejected: hh.rejected }, 'hh-rlhf')).toThrow(
      'd.jsonl, row 1, `chosen`: expected a dialogue that begins with \\n\\nHuman:, received "Hi"',
    );
  });

  it('read Alpaca with and without input, system and history', () => {
    expect(convert({ instruction: 'Add', input: '1, 2', output: '3', id: 7 })).toEqual([
      { id: 7, prompt: [user('Add\n\n1, 2')], completion: [assistant('3')] },
    ]);
    const all = { instruction: 'c', input: ' ', output: 'd', system: 's', history: [['a', 'b']] };
    expect(convert(all)).toEqual([
      {
        prompt: [{ role: 'system', content: 's' }, user('a'), assistant('b'), user('c')],
        completion: [assistant('d')],
      },
    ]);
    expect(() => convert({ ...all, history: [['a']] })).toThrow('`history[0]`: expected [question, answer]');
  });

  it('read ShareGPT: roles, tool calls and pairs', () => {
    const conversations = [
      { from: 'human', value: 'Weather?' },
      { from: 'function_call', value: '{"name":"weather","arguments":{"city":"Bonn"}}' },
      { from: 'observation', value: 'sun' },
      { from: 'gpt', value: 'Sunny.' },
    ];
    const call = { type: 'function', function: { name: 'weather', arguments: { city: 'Bonn' } } };
    const messages = [
      { role: 'system', content: 's' },
      user('Weather?'),
      { role: 'assistant', tool_calls: [call] },
      { role: 'tool', content: 'sun' },
      assistant('Sunny.'),
    ];
    expect(convert({ conversations, system: 's', tools: '[]' })).toEqual([{ tools: '[]', messages }]);
    const pair = { chosen: { from: 'gpt', value: 'a' }, rejected: { from: 'gpt', value: 'b' } };
    expect(convert({ conversations: conversations.slice(0, 1), ...pair })).toEqual([
      { prompt: [user('Weather?')], chosen: [assistant('a')], rejected: [assistant('b')] },
    ]);
    expect(() => convert({ conversations: [{ from: 'robot', value: 'x' }] })).toThrow(
      'd.jsonl, row 1, `conversations[0].from`: expected human, user,',
    );
    expect(() => convert({ conversations: [{ from: 'function_call', value: '{' }] })).toThrow(
      'a call as JSON text',
    );
  });

  it('read PKU-SafeRLHF for reward (better) and cost (safer), with the flags on the right sides', () => {
    const others = { prompt: 'How?', source: 'web' };
    // The better response is the unsafe one here, so that swapped columns show.
    expect(convert(pku)).toEqual([
      {
        ...others,
        chosen: 'Thus.',
        rejected: 'I would rather not.',
        chosen_safe: false,
        rejected_safe: true,
      },
    ]);
    expect(convert(pku, 'pku-saferlhf-cost')).toEqual([
      {
        ...others,
        chosen: 'I would rather not.',
        rejected: 'Thus.',
        chosen_safe: true,
        rejected_safe: false,
      },
    ]);
    expect(convert({ ...pku, response_1: 'Thus.' })).toEqual([]);
    expect(() => convert({ ...pku, better_response_id: 2 })).toThrow('`better_response_id`: expected 0 or 1');
    expect(() => convert({ ...pku, is_response_1_safe: undefined })).toThrow('`is_response_1_safe`');
  });

  it('read UltraFeedback: best against worst by the mean rating, ties left out', () => {
    // Means 3.5, 5, 2 (the "N/A" does not count), 4.
    const completions = [
      rating('a', '3', '4'),
      rating('b', '5', '5'),
      rating('c', '2', 'N/A'),
      rating('d', '4'),
    ];
    expect(convert({ instruction: 'Q', completions, models: ['m'], source: 'flan' })).toEqual([
      {
        source: 'flan',
        prompt: [user('Q')],
        chosen: [assistant('b')],
        rejected: [assistant('c')],
        margin: 3,
      },
    ]);
    expect(convert({ instruction: 'Q', completions: [rating('a', '3'), rating('b', '3')] })).toEqual([]);
    expect(() => convert({ instruction: 'Q', completions: [rating('a', 'N/A')] })).toThrow(
      '`completions[0]`',
    );
    const sides = { chosen: [user('Q'), assistant('a')], rejected: [user('Q'), assistant('b')] };
    expect(
      convert({ prompt: 'Q', ...sides, messages: sides.chosen, score_chosen: 8, score_rejected: 6.5 }),
    ).toEqual([{ ...sides, score_chosen: 8, score_rejected: 6.5, margin: 1.5 }]);
    expect(() => convert({ prompt: 'P', ...sides })).toThrow(
      '`chosen`: expected messages that begin with the prompt',
    );
  });

  it('read HelpSteer ratings and HelpSteer3 preferences', () => {
    const ratings = { helpfulness: 4, correctness: 4, coherence: 4, complexity: 1, verbosity: 2 };
    expect(convert({ prompt: 'Q', response: 'A', ...ratings })).toEqual([
      { prompt: 'Q', completion: 'A', ...ratings },
    ]);
    const three = { context: [user('Q')], response1: 'a', response2: 'b', domain: 'code' };
    const kept = { domain: 'code', prompt: [user('Q')] };
    expect(convert({ ...three, overall_preference: -2 })).toEqual([
      { ...kept, overall_preference: -2, chosen: [assistant('a')], rejected: [assistant('b')], margin: 2 },
    ]);
    expect(convert({ ...three, overall_preference: 1 })).toMatchObject([
      { chosen: [assistant('b')], margin: 1 },
    ]);
    expect(convert({ ...three, overall_preference: 0 })).toEqual([]);
  });

  it('leave rows alone that already have the columns of TRL', () => {
    const rows = [
      { text: 'a' },
      { messages: [user('a'), assistant('b')] },
      { prompt: 'a' },
      { prompt: 'a', completion: 'b' },
      { prompt: [user('a')], completion: [assistant('b')], label: true },
      { prompt: 'a', chosen: 'b', rejected: 'c' },
      { chosen: 'a b', rejected: 'a c' },
      { chosen: [user('a'), assistant('b')], rejected: [user('a'), assistant('c')] },
      { prompt: 'a', completions: ['b'], labels: [true] },
    ];
    for (const columns of rows) {
      expect(detectConverter(row(columns))).toBeUndefined();
      expect(detectRowType(row(columns))).toBeDefined();
    }
  });
});
