import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { modelCard, publicId } from './model-card.ts';

const headOf = (text: string): Record<string, unknown> => {
  const [, head] = /^---\n([\s\S]*?)\n---\n/.exec(text)!;
  return parse(head!) as Record<string, unknown>;
};

describe('modelCard', () => {
  it('puts into the head what the hub reads, and the figures into a table', () => {
    const text = modelCard({
      title: 'SmolLM2, polite',
      summary: 'Trained with DPO.',
      pipeline: 'text-generation',
      baseModel: 'HuggingFaceTB/SmolLM2-135M-Instruct',
      license: 'apache-2.0',
      languages: ['en'],
      tags: ['dpo'],
      datasets: [],
      figures: [
        { name: 'loss', value: 0.612345678, meaning: 'nats | per pair' },
        { name: 'broken', value: Number.NaN },
      ],
      configText: 'beta: 0.1\nprompt: "```"\n',
    });
    expect(headOf(text)).toEqual({
      license: 'apache-2.0',
      language: ['en'],
      library_name: 'transformers',
      pipeline_tag: 'text-generation',
      tags: ['heed', 'dpo'],
      base_model: 'HuggingFaceTB/SmolLM2-135M-Instruct',
      'model-index': [
        {
          name: 'SmolLM2, polite',
          results: [
            {
              task: { type: 'text-generation' },
              dataset: { name: "the run's own data", type: 'other' },
              metrics: [{ type: 'loss', name: 'loss', value: 0.612346 }],
            },
          ],
        },
      ],
    });
    expect(text).toContain('| loss | 0.612346 | nats \\| per pair |\n');
    expect(text).not.toContain('broken');
    // A fence inside the configuration does not end it.
    expect(text).toContain('````yaml\nbeta: 0.1\nprompt: "```"\n````\n');
  });

  it('keeps hostile titles and values inside their place', () => {
    const text = modelCard({
      title: 'a\n---\nlicense: mit',
      summary: 's',
      pipeline: 'text-generation',
      license: 'x: [y',
    });
    expect(headOf(text).license).toBe('x: [y');
    expect(text).toContain('# a --- license: mit\n');
    expect(text.match(/^---$/gm)).toHaveLength(2);
  });
});

describe('publicId', () => {
  it.each([
    ['owner/name', 'owner/name'],
    ['owner/name@main', 'owner/name'],
    ['owner/name/q4.gguf', 'owner/name'],
    ['/home/me/model', undefined],
    ['./runs/model', undefined],
    ['a/b/c', undefined],
    ['model.gguf', undefined],
  ])('takes %s for %s', (source, id) => {
    expect(publicId(source)).toBe(id);
  });
});
