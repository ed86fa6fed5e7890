# Blood cells on real photographs (BCCD, MIT licence): 205 training, 87 validation and 72 test images of 640x480, here at
# 240x180, in data/bccd. What it changes in the demonstration's configs.
three_classes = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
bccd_resize = dict(type='Resize', scale=(240, 180), keep_ratio=True)
bccd_boxes = dict(type='LoadAnnotations', with_bbox=True)
# One red blood cell of the set has a box without area, of which some heads make an infinite loss.
bccd_filter = dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1))
bccd_train_pipeline = [
    dict(type='LoadImageFromFile'),
    bccd_boxes,
    bccd_filter,
    bccd_resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
bccd_test_pipeline = [
    dict(type='LoadImageFromFile'),
    bccd_resize,
    bccd_boxes,
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
bccd_set = dict(data_root='data/bccd/', metainfo=dict(classes=('RBC', 'WBC', 'Platelets')))
bccd_evaluation = dict(test_mode=True, ann_file='ImageSets/Main/test.txt', pipeline=bccd_test_pipeline, **bccd_set)
bccd_epochs = 8
# The teacher has the time that a lead takes.
bccd_teacher_epochs = 24
bccd = dict(
    train_dataloader=dict(dataset=dict(pipeline=bccd_train_pipeline, **bccd_set)),
    # Nothing is selected on the test images, which are read as they come.
    val_dataloader=dict(dataset=bccd_evaluation),
    test_dataloader=dict(dataset=bccd_evaluation),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.04, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', eta_min=0, begin=1, end=bccd_epochs, by_epoch=True, convert_to_iter_based=True),
    ],
    default_hooks=dict(logger=dict(interval=13), checkpoint=dict(max_keep_ckpts=1, save_best=None)),
    data_help='get the BCCD data set, as VOC folders Annotations, JPEGImages and ImageSets, and put it in data/bccd',
)
