import { glob, readFile } from 'node:fs/promises'
import ts from 'typescript'

const root = new URL('../../', import.meta.url)
/** The files that run in the service, without scripts and programs for tests. */
const sources = ['*.ts', 'plugins/**/*.ts', 'routes/**/*.ts', 'services/**/*.ts']
/** The numbers that pino writes for levels. */
const levelNames = new Map([[40, 'warn'], [50, 'error'], [60, 'fatal']])
const levels = new Set(levelNames.values())
/** It logs messages that it is given; they are found where it is created. */
const wrapper = { file: 'services/runtime/repeated-failure.ts', name: 'RepeatedFailure' }

export interface LogMessage { level: string, message: string }

export interface LogMessages {
  /** Each message of level warn or above, once for each of its levels, in the order of the files. */
  messages: LogMessage[]
  /** Calls whose message is not a constant: `file:line`. */
  unreadable: string[]
}

/** Finds the log messages of level warn and above in the source of the service. */
export async function findLogMessages (): Promise<LogMessages> {
  const found: LogMessages = { messages: [], unreadable: [] }
  for await (const path of glob(sources, { cwd: root })) readFileMessages(path, await readFile(new URL(path, root), 'utf8'), found)
  return found
}

/** @param path of the file, for `unreadable`; the messages are added to `found` */
export function readFileMessages (path: string, text: string, found: LogMessages): void {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const constants = readConstants(file)
  const visit = (node: ts.Node): void => {
    for (const { level, message } of logged(node)) {
      const value = message && readText(message, constants)
      if (value !== undefined) found.messages.push({ level, message: value })
      else if (path !== wrapper.file) found.unreadable.push(`${path}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}`)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
}

/** @returns the levels of a node that writes a log line, each with the expression of its message */
function logged (node: ts.Node): Array<{ level: string, message: ts.Node | undefined }> {
  if (ts.isCallExpression(node)) return levelsOf(node.expression).map((level) => ({ level, message: messageOf(node) }))
  if (ts.isNewExpression(node) && node.expression.getText() === wrapper.name) {
    const texts = node.arguments?.[1]
    return [{ level: 'warn', message: texts && ts.isObjectLiteralExpression(texts) ? memberOf(texts, 'failed') : undefined }]
  }
  // A line that is written without a logger.
  if (ts.isObjectLiteralExpression(node)) {
    const level = levelNames.get(Number(memberOf(node, 'level')?.getText()))
    return level === undefined ? [] : [{ level, message: memberOf(node, 'msg') }]
  }
  return []
}

/** The levels of `log.warn`, `this.#log.error`, `log[isKnown ? 'debug' : 'error']` and their like. */
function levelsOf (called: ts.Node): string[] {
  if (ts.isPropertyAccessExpression(called)) return levels.has(called.name.text) && called.expression.getText() !== 'console' ? [called.name.text] : []
  if (!ts.isElementAccessExpression(called)) return []
  const names: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteral(node) && levels.has(node.text)) names.push(node.text)
    ts.forEachChild(node, visit)
  }
  visit(called.argumentExpression)
  return names
}

/** The message is the last argument: members of the line come before it. */
function messageOf ({ arguments: given }: ts.CallExpression): ts.Node | undefined {
  return given.at(-1)
}

function memberOf (object: ts.ObjectLiteralExpression, name: string): ts.Node | undefined {
  return object.properties.filter(ts.isPropertyAssignment).find((property) => property.name.getText() === name)?.initializer
}

function readText (node: ts.Node, constants: Map<string, ts.Node>): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text
  const constant = ts.isIdentifier(node) ? constants.get(node.text) : undefined
  return constant && ts.isStringLiteralLike(constant) ? constant.text : undefined
}

/** The constants of the file itself, by their names. */
function readConstants (file: ts.SourceFile): Map<string, ts.Node> {
  const declared = file.statements.filter(ts.isVariableStatement).flatMap(({ declarationList }) => declarationList.declarations)
  return new Map(declared.flatMap(({ name, initializer }) => initializer === undefined ? [] : [[name.getText(), initializer]]))
}
