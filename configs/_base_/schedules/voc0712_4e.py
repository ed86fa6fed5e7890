# mmdet's schedule for Faster R-CNN on VOC 07+12. The data set is repeated 3 times, so 4 epochs are 12 passes.
max_epochs = 4
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[3], gamma=0.1)]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001))
# 8 GPUs with 2 images each.
auto_scale_lr = dict(enable=False, base_batch_size=16)
data_help = (
    'download VOCtrainval_06-Nov-2007, VOCtest_06-Nov-2007 and VOCtrainval_11-May-2012 from the PASCAL VOC site and unpack '
    'them, so that data/VOCdevkit contains VOC2007 and VOC2012'
)
