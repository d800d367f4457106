import { describe, expect, it } from 'vitest';
import { bpeCorpus } from '../../test/support/bpe-corpus.ts';
import { trainBpe } from '../tokenizer/index.ts';
import { chatFormat, defaultChatTemplate } from './chat-format.ts';

const messages = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Hello' },
  { role: 'assistant', content: 'Hi.' },
];
const plain = trainBpe(bpeCorpus.slice(0, 50), { vocabSize: 270, specialTokens: { eos: '</s>' } });
const withBos = trainBpe(bpeCorpus.slice(0, 50), {
  vocabSize: 270,
  specialTokens: { bos: '<s>', eos: '</s>' },
});

describe('chatFormat', () => {
  it('has a plain template of its own', () => {
    const format = chatFormat(plain);
    expect(format.source).toBe('default');
    const text = 'System: Be brief.\n\nUser: Hello\n\nAssistant: Hi.</s>';
    expect(format.render(messages)).toBe(text);
    expect(format.render(messages.slice(0, 2), { addGenerationPrompt: true })).toBe(
      'System: Be brief.\n\nUser: Hello\n\nAssistant:',
    );
    expect(format.render([...messages, { role: 'user', content: ' {{ x }} ' }])).toBe(
      `${text}\n\nUser:  {{ x }} `,
    );
    expect(format.render([], { addGenerationPrompt: true })).toBe('Assistant:');
    // BOS only where the tokenizer itself would put it.
    expect(chatFormat(withBos).render(messages)).toBe(`<s>${text}`);
    expect(defaultChatTemplate(withBos)).toContain('bos_token');
    const bosUnused = trainBpe([], {
      vocabSize: 257,
      specialTokens: { bos: '</s>', eos: '</s>' },
      addBos: false,
    });
    expect(chatFormat(bosUnused).render(messages)).toBe(text);
  });

  it('prefers the template given, then the named one, then the tokenizer’s', () => {
    const chatTemplates = new Map([
      ['default', 'D'],
      ['rag', 'R'],
    ]);
    const tokenizer = { ...plain, chatTemplate: 'D', chatTemplates };
    const render = (options: object) => {
      const format = chatFormat(tokenizer, options);
      return [format.source, format.render(messages)];
    };
    expect(render({ template: 'T', templateName: 'rag' })).toEqual(['option', 'T']);
    expect(render({ templateName: 'rag' })).toEqual(['tokenizer', 'R']);
    expect(render({})).toEqual(['tokenizer', 'D']);
    expect(() => chatFormat(tokenizer, { templateName: 'x' })).toThrow(
      'expected a template named "x", received templates default, rag',
    );
  });

  it('gives templates what they expect', () => {
    const template =
      "{{ eos_token }}{% for i in range(1, 7, 2) %}{{ i }}{% endfor %}{{ strftime_now('%d %b %Y') }}" +
      '{% if none is none and not False %}{{ tools | length }}{{ thinking }}{% endif %}{{ range(3) | length }}';
    const render = (options: object) =>
      chatFormat(plain, { template, variables: { thinking: 'off' }, ...options }).render(messages, {
        tools: [1, 2],
      });
    expect(render({})).toBe('</s>13501 Jan 20252off3');
    expect(render({ date: new Date(Date.UTC(2026, 10, 24)) })).toBe('</s>13524 Nov 20262off3');
    const spelled = chatFormat(plain, { template: "{{ strftime_now('%A %d %B %Y %H:%M:%S %a %m %% %j') }}" });
    expect(spelled.render([])).toBe('Wednesday 01 January 2025 00:00:00 Wed 01 % %j');
  });

  it('passes on the words of a template that refuses', () => {
    const template = "{{ raise_exception('Roles must alternate') }}";
    expect(() => chatFormat(plain, { template }).render(messages)).toThrow(
      'chat template: expected messages that the template accepts, received system, user, assistant: Roles must alternate',
    );
    expect(() => chatFormat(plain, { template: '{% if %}' })).toThrow('expected a Jinja template that');
  });
});
