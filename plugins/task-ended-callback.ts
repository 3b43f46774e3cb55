const header = (name: string, description: string) => ({ in: 'header' as const, name, required: true, description, schema: { type: 'string' as const } })

/** For the document: what the service asks of the `callback_url` of a request. */
export const taskEndedCallback = {
  '{$request.query.callback_url}': {
    post: {
      summary: 'Receive the end of a task',
      description: 'Signed by Standard Webhooks 1.0. The same message can come more than once, with the same `webhook-id`.',
      parameters: [
        header('webhook-id', 'The id of the message, which is that of the task'),
        header('webhook-timestamp', 'When this attempt was made, in seconds since 1970'),
        header('webhook-signature', '`v1,` and a signature in base64; several, separated by spaces: one that fits is enough')
      ],
      requestBody: { required: true, content: { 'application/json': { schema: { $ref: '#/components/schemas/CallbackMessage' } } } },
      responses: {
        '2XX': { description: 'The message has arrived; after anything else but 410 it is sent again, for about 18 hours' },
        410: { description: 'The receiver wants no more messages about this task; it is not sent again' }
      }
    }
  }
}
