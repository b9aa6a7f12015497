/* DPDK's inline functions, as functions. dpdk.h says what each does. */
#define _GNU_SOURCE
#include "dpdk.h"

#include <errno.h>
#include <stdio.h>
#include <sys/types.h>

uint16_t weir_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, frames, count);
}

uint16_t weir_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, frames, count);
}

struct rte_mbuf *weir_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int weir_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, frames, count);
}

void weir_mbuf_free(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
}

void weir_mbuf_free_segment(struct rte_mbuf *segment)
{
	rte_pktmbuf_free_seg(segment);
}

unsigned int weir_pool_size(const struct rte_mempool *pool)
{
	return pool->size;
}

int weir_errno(void)
{
	return rte_errno;
}

int weir_link(uint16_t port, uint32_t *mbps, int *up)
{
	struct rte_eth_link link = {0};
	int result = rte_eth_link_get_nowait(port, &link);

	if (result < 0)
		return result;
	*up = link.link_status == RTE_ETH_LINK_UP;
	*mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	return 0;
}

static weir_log_sink log_sink;

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	log_sink(rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

int weir_log_to(weir_log_sink sink)
{
	const cookie_io_functions_t functions = {.write = log_write};
	FILE *stream;

	log_sink = sink;
	stream = fopencookie(NULL, "w", functions);
	if (stream == NULL)
		return -errno;
	return rte_openlog_stream(stream);
}
