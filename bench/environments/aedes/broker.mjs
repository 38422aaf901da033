// aedes as its pages show it, in memory: node broker.mjs PORT WEBSOCKET_PORT
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { WebSocketServer, createWebSocketStream } from 'ws'

const [port, webSocketPort] = process.argv.slice(2).map(Number)
const broker = await Aedes.createBroker()
createServer({ noDelay: true }, broker.handle).listen(port, '127.0.0.1')
const http = createHttpServer()
new WebSocketServer({ server: http }).on('connection', (socket, request) => {
  broker.handle(createWebSocketStream(socket), request)
})
http.listen(webSocketPort, '127.0.0.1')
