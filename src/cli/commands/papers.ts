/** `heed papers`: the papers that heed is to cover, and which of them are built. */
import { z } from 'zod';
import { field } from '../../core/config.ts';
import * as registry from '../../methods/index.ts';
import { type Paper, papers } from '../../methods/papers.ts';
import { defineCommand } from '../command.ts';
import { findRecord } from '../find-record.ts';
import { formatTable } from '../output.ts';

const config = z.strictObject({
  id: field(z.string().optional(), { placeholder: 'paper' }).describe('show one paper; all when left out'),
  status: field(z.enum(['all', 'built', 'planned']).default('all')).describe('show only these'),
});

const built = new Set(Object.values(registry).map(({ id }) => id));

/** `built` when a method that implements it is there. */
export const statusOf = (paper: Paper): 'built' | 'planned' =>
  paper.methods.some((id) => built.has(id)) ? 'built' : 'planned';

export const command = defineCommand({
  config,
  positionals: ['id'],
  examples: ['papers', 'papers --status built', 'papers dpo'],
  async run({ id, status }, { output }) {
    if (id !== undefined) {
      const paper = findRecord(papers, id, { where: 'papers', what: 'paper' });
      output.record({ event: 'paper', ...paper, status: statusOf(paper) });
      output.text(describePaper(paper));
      return 0;
    }
    const listed = papers.filter((paper) => status === 'all' || statusOf(paper) === status);
    for (const paper of listed) output.record({ event: 'paper', ...paper, status: statusOf(paper) });
    output.text(
      formatTable([
        ['paper', 'status', 'methods', 'title'],
        ...listed.map((paper) => [paper.id, statusOf(paper), paper.methods.join(', '), paper.title]),
      ]),
    );
    const count = papers.filter((paper) => statusOf(paper) === 'built').length;
    output.text(`\n${count} of ${papers.length} are built. heed papers <paper> tells more about one.`);
    return 0;
  },
});

function describePaper(paper: Paper): string {
  const { title, authors, year, arxiv, field: area, claim, methods } = paper;
  return [
    title,
    `${authors} ${year}${arxiv === undefined ? '' : `, arXiv ${arxiv}`} (${area})`,
    '',
    `claim    ${claim}`,
    `status   ${statusOf(paper)}`,
    ...methods.map((id) => `method   ${id}: heed ${id} --help, docs/methods/${id}.md`),
  ].join('\n');
}
