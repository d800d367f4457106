/** The quickstart's report. It loads the charts library: import it when a report is due, `await import('…/report/index.ts')`. */
export * from './quickstart-report.ts';
export { renderReport } from './render-report.ts';
export { writeReport } from './write-report.ts';
