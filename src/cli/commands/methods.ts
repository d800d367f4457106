/** `heed methods`: what heed can train with, and the configuration of one method as a table or a JSON Schema. */
import { z } from 'zod';
import { configJsonSchema, field } from '../../core/config.ts';
import { ConfigError } from '../../core/errors.ts';
import * as registry from '../../methods/index.ts';
import { papers } from '../../methods/papers.ts';
import { defineCommand } from '../command.ts';
import { findRecord } from '../find-record.ts';
import { formatTable } from '../output.ts';

const config = z.strictObject({
  id: field(z.string().optional(), { placeholder: 'method' }).describe('show one method; all when left out'),
  schema: field(z.boolean().default(false)).describe(
    'print the JSON Schema of its configuration file, for completion in editors',
  ),
});

const methods = Object.values(registry).sort((a, b) => (a.id < b.id ? -1 : 1));
type Method = (typeof methods)[number];

export const command = defineCommand({
  config,
  positionals: ['id'],
  examples: ['methods', 'methods dpo', 'methods dpo --schema'],
  async run({ id, schema }, { output }) {
    if (id === undefined) {
      if (schema) {
        throw new ConfigError({
          where: 'methods --schema',
          expected: 'the id of a method',
          received: 'none',
          fix: 'Write heed methods <method> --schema',
        });
      }
      for (const method of methods) output.record({ event: 'method', ...facts(method) });
      output.text(
        formatTable([
          ['method', 'learns from', 'needs', 'what it is'],
          ...methods.map(({ id: name, data, needs, summary }) => [name, data, needs.join(', '), summary]),
        ]),
      );
      output.text('\nheed methods <method> tells more about one; heed <method> --help lists its flags.');
      return 0;
    }
    const method = findRecord(methods, id, { where: 'methods', what: 'method' });
    if (schema) {
      output.text(JSON.stringify(schemaOf(method), null, 2));
      output.record({ event: 'schema', method: id, schema: schemaOf(method) });
      return 0;
    }
    output.record({ event: 'method', ...facts(method), metrics: method.metrics });
    output.text(describe(method));
    return 0;
  },
});

/** JSON Schema of the configuration file of a method. */
export const schemaOf = (method: Pick<Method, 'id' | 'summary' | 'config'>): object => ({
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: `heed ${method.id}`,
  description: method.summary,
  ...configJsonSchema(method.config),
});

const papersOf = (id: string) => papers.filter((paper) => paper.methods.includes(id));

function facts({ id, summary, data, needs }: Method): Record<string, unknown> {
  return { id, summary, data, needs, papers: papersOf(id).map((paper) => paper.id) };
}

function describe(method: Method): string {
  const { id, summary, data, needs, metrics } = method;
  const own = papersOf(id);
  return [
    `${id}: ${summary}`,
    '',
    `learns from  ${data}`,
    `needs        ${needs.join(', ')}`,
    ...own.map(({ title, authors, year }) => `paper        ${authors} ${year}, ${title}`),
    '',
    formatTable([
      ['metric', 'unit', 'meaning'],
      ...metrics.map(({ name, description, unit }) => [name, unit === '1' ? '' : unit, description]),
    ]),
    '',
    `Configuration: heed ${id} --help, or heed methods ${id} --schema. More: docs/methods/${id}.md`,
  ].join('\n');
}
